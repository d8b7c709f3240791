"""Barlow Twins' loss against loops over the cross-correlation matrix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fedmetric.objectives.barlow_twins import BarlowTwins
from fedmetric.objectives.base import Batch
from oracles.geometry import cloud
from oracles.redundancy import barlow_twins

CROSS = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
"""Four images whose two dimensions do not correlate."""


def loss_of(first: Tensor, second: Tensor, redundancy: float = 0.005) -> float:
    objective = BarlowTwins(first.shape[1], redundancy=redundancy, hidden_dim=4, output_dim=3)
    objective.projector = nn.Identity()
    return float(objective(nn.Identity(), Batch((first, second))))


@pytest.mark.parametrize("redundancy", [0.0, 0.005, 1.0])
def test_the_loss_is_that_of_the_loops(redundancy: float) -> None:
    first, second = cloud(7, 4, 1), cloud(7, 4, 2)
    expected = barlow_twins(first.tolist(), second.tolist(), redundancy)
    assert loss_of(first, second, redundancy) == pytest.approx(expected, rel=1e-4)


def test_equal_views_without_redundancy_cost_nothing() -> None:
    assert loss_of(CROSS, CROSS, 1.0) == pytest.approx(0, abs=1e-6)


def test_a_dimension_that_repeats_another_costs_lambda_twice() -> None:
    """The cross-correlation of (a, a) with (a, a) is all ones: two entries off the diagonal."""
    repeated = CROSS[:, :1].expand(4, 2)
    assert loss_of(repeated, repeated, 0.3) == pytest.approx(0.6, abs=1e-4)


def test_a_view_of_the_opposite_sign_costs_four_a_dimension() -> None:
    """Both diagonal entries are -1: (1 - -1)^2 = 4 each."""
    assert loss_of(CROSS, -CROSS, 1.0) == pytest.approx(8.0, abs=1e-3)


def test_dimensions_may_be_shifted_and_scaled_and_images_permuted() -> None:
    first, second = cloud(7, 4, 1), cloud(7, 4, 2)
    order = torch.tensor([3, 1, 6, 0, 2, 4, 5])
    assert loss_of(3 * first[order] - 5, second[order]) == pytest.approx(loss_of(first, second), rel=1e-3)
