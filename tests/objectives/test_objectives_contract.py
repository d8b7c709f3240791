"""What every registered objective must do, whatever its name."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor, nn

from fedmetric.errors import ConfigError
from fedmetric.models.backbones.conv4 import conv4
from fedmetric.models.embedder import Embedder
from fedmetric.objectives.base import TARGET, Batch, Objective, build_objective
from fedmetric.objectives.momentum import Target
from fedmetric.registry import objectives

NAMES = sorted(objectives)
MADE_OF_PARTS = {"hybrid"}
TRAITS = (
    "num_views",
    "needs_labels",
    "needs_classes",
    "decomposable",
    "groups",
    "private",
    "target_policy",
    "min_batch",
)


def embedder(name: str) -> Embedder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        backbone = conv4(1, 16, width=8)
        objective = build_objective(objectives[name].options(), 8, num_classes=3)
    objective.meet(0, backbone, (), Generator().manual_seed(4))
    return Embedder(backbone, objective)


def batch(objective: Objective, count: int, seed: int = 2) -> Batch:
    generator = Generator().manual_seed(seed)
    drawn = tuple(torch.rand((count, 1, 16, 16), generator=generator) for _ in range(objective.num_views))
    return Batch(drawn, torch.arange(count) % 3 if objective.needs_labels else None)


def loss_of(network: Embedder, given: Batch) -> Tensor:
    """Seed torch's own generator before the forward pass, as the training loop does at every step."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return network.loss(given)


def train(network: Embedder, steps: int, given: Batch | None = None) -> None:
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    for step in range(steps):
        optimiser.zero_grad()
        loss_of(network, given or batch(network.objective, 6, seed=step)).backward()
        optimiser.step()
        network.objective.after_step(network.backbone, step / steps)


def groups_with_state(objective: Objective) -> list[str]:
    """Name the children that hold weights or buffers, those of a part with the part before them."""
    found = []
    for name, child in objective.named_children():
        if isinstance(child, Objective):
            found += [f"{name}.{group}" for group in groups_with_state(child)]
        elif child.state_dict():
            found.append(name)
    return found


def targets(objective: Objective) -> list[str]:
    return [group for group in objective.groups if group.rpartition(".")[2] == TARGET]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", ["fewest", 2, 5])
def test_the_loss_is_one_finite_number(name: str, count: int | str) -> None:
    network = embedder(name)
    loss = loss_of(network, batch(network.objective, network.objective.min_batch if count == "fewest" else int(count)))
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_reaches_every_weight_that_is_trained_and_the_first_layer_of_the_backbone(name: str) -> None:
    network = embedder(name)
    loss_of(network, batch(network.objective, 4)).backward()
    trained = {key: value.grad for key, value in network.named_parameters() if value.requires_grad}
    assert [key for key, grad in trained.items() if grad is None or not torch.isfinite(grad).all()] == []
    first = next(network.backbone.parameters()).grad
    assert first is not None
    assert float(first.abs().max()) > 0


@pytest.mark.parametrize("name", NAMES)
def test_no_gradient_reaches_a_target(name: str) -> None:
    network = embedder(name)
    loss_of(network, batch(network.objective, 4)).backward()
    modules = network.objective.group_modules()
    weights = [weight for group in targets(network.objective) for weight in modules[group].parameters()]
    assert bool(weights) == bool(network.objective.target_policy)
    assert all(not weight.requires_grad and weight.grad is None for weight in weights)


@pytest.mark.parametrize("name", NAMES)
def test_an_equal_batch_gives_an_equal_loss(name: str) -> None:
    first, second = (loss_of(network, batch(network.objective, 4)) for network in (embedder(name), embedder(name)))
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_the_groups_are_the_children_with_state_and_hold_all_of_it(name: str) -> None:
    objective = embedder(name).objective
    modules = objective.group_modules()
    assert list(objective.groups) == list(modules) == groups_with_state(objective)
    places = {id(module): place for place, module in objective.named_modules()}
    held = [f"{places[id(module)]}.{key}" for module in modules.values() for key in module.state_dict()]
    assert sorted(held) == sorted(objective.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_private_groups_are_groups_other_than_the_target_whose_policy_stands_apart(name: str) -> None:
    objective = embedder(name).objective
    assert set(objective.private) <= set(objective.groups) - set(targets(objective))
    assert bool(objective.target_policy) == bool(targets(objective))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_from_the_file_is_what_an_objective_has(name: str) -> None:
    """Only an objective made of parts says nothing in its file: what it has follows from them."""
    read = {key: value for key, value in objectives[name].traits.items() if key in TRAITS}
    if name in MADE_OF_PARTS:
        assert read == {}
    else:
        objective = embedder(name).objective
        assert {key: read.get(key, getattr(Objective, key)) for key in TRAITS} == {
            key: getattr(objective, key) for key in TRAITS
        }


@pytest.mark.parametrize("name", NAMES)
def test_a_network_that_takes_over_the_state_gives_the_same_next_losses(name: str) -> None:
    """Queues, centres, running sums and targets are part of the state, so that a resumed run is the same run."""
    first, second = embedder(name), embedder(name)
    train(first, 3)
    second.load_state_dict(first.state_dict())
    for seed in (10, 11):
        given = batch(first.objective, 5, seed)
        assert torch.equal(loss_of(first, given), loss_of(second, given))
    assert all(torch.equal(value, second.state_dict()[key]) for key, value in first.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_steps_lower_the_loss_of_their_own_batch(name: str) -> None:
    """The private state is put back after every step: a queue that fills with the batch's own keys is harder."""
    network = embedder(name)
    given = batch(network.objective, 6)
    modules = network.objective.group_modules()
    start = {
        group: {key: value.clone() for key, value in modules[group].state_dict().items()}
        for group in network.objective.private
    }
    before = float(loss_of(network, given).detach())
    for _ in range(12):
        train(network, 1, given)
        for group, state in start.items():
            modules[group].load_state_dict(state)
    assert float(loss_of(network, given).detach()) < before


@pytest.mark.parametrize("name", [name for name in NAMES if objectives[name].traits.get("target_policy")])
def test_a_target_starts_as_the_online_network_falls_behind_and_can_be_reset(name: str) -> None:
    network = embedder(name)

    def equal() -> bool:
        target = network.objective.get_submodule(TARGET)
        assert isinstance(target, Target)
        online: list[nn.Module] = [network.backbone, network.objective.get_submodule("projector")]
        pairs = [(ours.state_dict(), theirs.state_dict()) for ours, theirs in zip(target.layers, online, strict=True)]
        return all(torch.equal(value, theirs[key]) for ours, theirs in pairs for key, value in ours.items())

    assert equal()
    train(network, 2)
    assert not equal()
    network.objective.reset_target(network.backbone)
    assert equal()


@pytest.mark.parametrize("name", NAMES)
def test_a_client_whose_batches_are_too_small_is_refused(name: str) -> None:
    objective = embedder(name).objective
    objective.check_client(0, 1000, objective.min_batch)
    fewer = objective.min_batch - 1
    with pytest.raises(ConfigError, match=f"client 7 has batches of {fewer}, the objective needs at least {fewer + 1}"):
        objective.check_client(7, 1000, fewer)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_description(name: str) -> None:
    fields = {key: field for key, field in objectives[name].options.model_fields.items() if key != "name"}
    assert [key for key, field in fields.items() if not field.description] == []
    assert objectives[name].summary
