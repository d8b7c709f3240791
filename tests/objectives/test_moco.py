"""MoCo's loss against loops, and its queue against the keys that went in."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from fedmetric.errors import ConfigError
from fedmetric.objectives.base import Batch
from fedmetric.objectives.moco import MoCo
from oracles.contrastive import momentum_contrast
from oracles.geometry import circle, cloud


class Copy(nn.Module):
    """The identity as an operation, so that a gradient that should stop would pass through it."""

    def forward(self, images: Tensor) -> Tensor:
        return 1 * images


def bare(queue_size: int = 6, dimension: int = 5, temperature: float = 0.2) -> MoCo:
    """Return the objective without projector, whose target is the identity: queries and keys are the views."""
    objective = MoCo(dimension, temperature=temperature, queue_size=queue_size, hidden_dim=4, output_dim=dimension)
    objective.projector = nn.Identity()
    objective.attach(Copy())
    return objective


def bank(objective: MoCo) -> Tensor:
    found: Tensor = objective.queue.memory_bank.bank
    return found


@pytest.mark.parametrize("temperature", [0.1, 0.2, 1.0])
@pytest.mark.parametrize("count", [1, 4])
def test_the_loss_is_that_of_the_loops(temperature: float, count: int) -> None:
    objective = bare(temperature=temperature)
    queries, keys, queue = cloud(count, 5, 1), cloud(count, 5, 2), bank(objective).clone()
    loss = objective(nn.Identity(), Batch((queries.requires_grad_(), keys)))
    expected = momentum_contrast(queries.tolist(), keys.tolist(), queue.tolist(), temperature)
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_a_queue_at_right_angles_to_a_found_key() -> None:
    """The key lies at cosine 1 and three past keys at cosine 0: with T = 1, -log(e / (e + 3))."""
    objective = bare(queue_size=3, dimension=2, temperature=1.0)
    bank(objective).copy_(circle(90, 90, 270))
    loss = objective(nn.Identity(), Batch((circle(0), circle(0))))
    assert loss.item() == pytest.approx(-math.log(math.e / (math.e + 3)), abs=1e-6)


def test_after_k_steps_the_queue_holds_the_last_keys_of_the_target() -> None:
    """Eight slots and batches of four: of five steps the last two remain, the fifth where the third was."""
    torch.manual_seed(1)
    backbone = nn.Linear(3, 5)
    objective = MoCo(5, queue_size=8, momentum=0.5, hidden_dim=6, output_dim=4)
    objective.attach(backbone)
    keys = []
    for step in range(5):
        views = cloud(4, 3, step), cloud(4, 3, 10 + step)
        keys.append(normalize(objective.target(views[1]), dim=1))
        objective(backbone, Batch(views)).backward()
        with torch.no_grad():
            backbone.weight.sub_(0.1 * backbone.weight.grad)
        objective.after_step(backbone, 0.0)
    assert torch.equal(bank(objective), torch.cat([keys[4], keys[3]]))


def test_keys_that_do_not_fit_before_the_end_are_left_out() -> None:
    objective = bare(queue_size=5, dimension=2)
    first, second = circle(0, 10, 20, 30), circle(40, 50, 60, 70)
    for keys in (first, second):
        objective(nn.Identity(), Batch((circle(1, 2, 3, 4).requires_grad_(), keys)))
    assert torch.allclose(bank(objective), torch.cat([first, second[:1]]))


def test_without_a_gradient_the_queue_stays() -> None:
    objective = bare()
    before = bank(objective).clone()
    with torch.no_grad():
        objective(nn.Identity(), Batch((cloud(3, 5, 1), cloud(3, 5, 2))))
    assert torch.equal(bank(objective), before)


def test_the_key_is_a_constant() -> None:
    queries, keys = cloud(3, 5, 1).requires_grad_(), cloud(3, 5, 2).requires_grad_()
    bare()(nn.Identity(), Batch((queries, keys))).backward()
    assert queries.grad is not None
    assert keys.grad is None


def test_a_queue_longer_than_a_client_is_refused() -> None:
    objective = MoCo(5, queue_size=100)
    objective.check_client(0, 100, 10)
    with pytest.raises(ConfigError) as error:
        objective.check_client(3, 99, 10)
    assert str(error.value) == (
        "objective.queue_size=100 but client 3 holds 99 images; lower objective.queue_size to at most 99, "
        "or give every client more images"
    )
