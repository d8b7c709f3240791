"""SwAV's loss against Sinkhorn written as loops, and the length of its prototypes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from fedmetric.objectives.base import Batch
from fedmetric.objectives.swav import SwAV
from oracles.assignments import balanced, swapped
from oracles.geometry import circle, cloud


def bare(prototypes: Tensor, temperature: float = 0.1, epsilon: float = 0.05, iterations: int = 3) -> SwAV:
    count, dimension = prototypes.shape
    objective = SwAV(
        dimension, temperature=temperature, epsilon=epsilon, iterations=iterations, num_prototypes=count,
        hidden_dim=4, output_dim=dimension,
    )  # fmt: skip
    objective.projector = nn.Identity()
    objective.prototypes.heads[0].weight.data.copy_(prototypes)
    return objective


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize(("temperature", "epsilon"), [(0.1, 0.05), (1.0, 0.5)])
def test_the_loss_is_that_of_the_loops(iterations: int, temperature: float, epsilon: float) -> None:
    first, second, prototypes = cloud(6, 4, 1), cloud(6, 4, 2), cloud(3, 4, 3)
    scores = [(normalize(points) @ normalize(prototypes).T).tolist() for points in (first, second)]
    found = bare(prototypes, temperature, epsilon, iterations)(nn.Identity(), Batch((first, second)))
    assert found.item() == pytest.approx(swapped(*scores, temperature, epsilon, iterations), abs=1e-4)


def test_codes_are_balanced_over_prototypes() -> None:
    """The oracle itself: after many iterations each image has weight 1 and each of 3 prototypes 6 / 3 = 2."""
    codes = balanced(cloud(6, 3, 1).tolist(), 0.5, 200)
    assert [sum(row) for row in codes] == pytest.approx([1] * 6)
    assert [sum(column) for column in zip(*codes, strict=True)] == pytest.approx([2] * 3)


def test_two_images_on_their_own_prototypes() -> None:
    """Codes are 1 and 0 but for exp(-20); a prediction with T = 1 gives its own prototype e / (e + 1)."""
    loss = bare(circle(0, 90), temperature=1.0)(nn.Identity(), Batch((circle(0, 90), circle(0, 90))))
    assert loss.item() == pytest.approx(-math.log(math.e / (math.e + 1)), abs=1e-5)


def test_prototypes_are_brought_to_length_one_before_they_are_used() -> None:
    """A mean of unit vectors of several clients is shorter than 1."""
    first, second, prototypes = cloud(6, 4, 1), cloud(6, 4, 2), cloud(3, 4, 3)
    long, short = bare(7 * prototypes), bare(0.1 * prototypes)
    losses = [objective(nn.Identity(), Batch((first, second))).item() for objective in (long, short)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    assert torch.allclose(long.prototypes.heads[0].weight.norm(dim=1), torch.ones(3))


def test_prototypes_have_no_bias_and_are_trained() -> None:
    objective = bare(cloud(3, 4, 3))
    objective(nn.Identity(), Batch((cloud(6, 4, 1), cloud(6, 4, 2)))).backward()
    grads = {name: weight.grad for name, weight in objective.prototypes.named_parameters()}
    assert list(grads) == ["heads.0.weight"]
    assert grads["heads.0.weight"] is not None
    assert float(grads["heads.0.weight"].abs().max()) > 0
