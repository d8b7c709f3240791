"""What every registered objective must do, whatever its name."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor, nn

from fedmetric.models.backbones.conv4 import conv4
from fedmetric.models.embedder import Embedder
from fedmetric.objectives.base import Batch, Objective
from fedmetric.registry import objectives

NAMES = sorted(objectives)


def embedder(name: str) -> Embedder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        backbone = conv4(1, 16, width=8)
        objective = objectives.build(objectives[name].options(), 8)
    assert isinstance(objective, Objective)
    return Embedder(backbone, objective)


def batch(objective: Objective, count: int) -> Batch:
    generator = Generator().manual_seed(2)
    drawn = tuple(torch.rand((count, 1, 16, 16), generator=generator) for _ in range(objective.num_views))
    return Batch(drawn, torch.arange(count) % 2 if objective.needs_labels else None)


def gradients(module: nn.Module) -> list[Tensor]:
    return [parameter.grad for parameter in module.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [2, 5])
def test_the_loss_is_one_finite_number(name: str, count: int) -> None:
    network = embedder(name)
    loss = network.loss(batch(network.objective, count))
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_the_first_layer_of_the_backbone(name: str) -> None:
    network = embedder(name)
    network.loss(batch(network.objective, 4)).backward()
    found = gradients(network.backbone)
    assert len(found) == len(list(network.backbone.parameters()))
    assert all(torch.isfinite(grad).all() for grad in found)
    assert float(found[0].abs().max()) > 0


@pytest.mark.parametrize("name", NAMES)
def test_an_equal_batch_gives_an_equal_loss(name: str) -> None:
    first, second = (network.loss(batch(network.objective, 4)) for network in (embedder(name), embedder(name)))
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_lies_in_one_group_named_by_its_child(name: str) -> None:
    network = embedder(name)
    groups = network.groups()
    names = [state for group in groups.values() for state in group]
    assert sorted(names) == sorted(network.state_dict())
    assert set(groups) == {"backbone", *dict(network.objective.named_children())}
    assert network.objective.private <= set(groups) - {"backbone"}


@pytest.mark.parametrize("name", NAMES)
def test_a_step_lowers_the_loss_of_its_own_batch(name: str) -> None:
    network = embedder(name)
    given = batch(network.objective, 6)
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for step in range(12):
        optimiser.zero_grad()
        loss = network.loss(given)
        loss.backward()
        optimiser.step()
        network.objective.after_step(network.backbone, step / 12)
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_description(name: str) -> None:
    fields = {key: field for key, field in objectives[name].options.model_fields.items() if key != "name"}
    assert [key for key, field in fields.items() if not field.description] == []
    assert objectives[name].summary
