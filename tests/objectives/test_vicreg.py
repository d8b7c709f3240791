"""VICReg's three terms against loops over the covariance matrix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fedmetric.objectives.base import Batch
from fedmetric.objectives.vicreg import VICReg
from oracles.geometry import cloud
from oracles.redundancy import vicreg


def loss_of(first: Tensor, second: Tensor, **weights: float) -> float:
    objective = VICReg(first.shape[1], hidden_dim=4, output_dim=3, **weights)
    objective.projector = nn.Identity()
    return float(objective(nn.Identity(), Batch((first, second))))


@pytest.mark.parametrize(
    ("invariance", "variance", "covariance"), [(25.0, 25.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)]
)
@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_the_loss_is_that_of_the_loops(invariance: float, variance: float, covariance: float, scale: float) -> None:
    first, second = scale * cloud(7, 4, 1), scale * cloud(7, 4, 2)
    expected = vicreg(first.tolist(), second.tolist(), invariance, variance, covariance)
    found = loss_of(first, second, invariance=invariance, variance=variance, covariance=covariance)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_a_collapsed_batch_costs_the_whole_hinge() -> None:
    """All projections are equal: nothing but the hinge on sqrt(0 + 0.0001) = 0.01 is left, 25 (1 - 0.01)."""
    assert loss_of(torch.ones(4, 3), torch.ones(4, 3)) == pytest.approx(24.75, abs=1e-4)


def test_wide_uncorrelated_equal_views_cost_nothing() -> None:
    cross = 2 * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert loss_of(cross, cross) == pytest.approx(0, abs=1e-6)


def test_the_distance_between_views_is_a_mean_over_images_and_dimensions() -> None:
    first = cloud(5, 3, 1)
    assert loss_of(first, first + 2, invariance=1.0, variance=0.0, covariance=0.0) == pytest.approx(4.0, abs=1e-5)
