"""The penalty on correlations against a double loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fedmetric.federation.base import LocalRound, RuleContext
from fedmetric.federation.feddecorr import FedDecorr, decorrelation
from fedmetric.layout import Layout
from oracles.geometry import cloud
from oracles.redundancy import off_diagonal

CONTEXT = RuleContext(Layout({}))
NETWORK: Any = None


@pytest.mark.parametrize(("rows", "dims"), [(2, 3), (9, 4), (16, 2)])
def test_it_is_the_mean_squared_correlation_between_dimensions_by_loops(rows: int, dims: int) -> None:
    points = cloud(rows, dims, 1) * 3 + 2
    assert float(decorrelation(points)) == pytest.approx(off_diagonal(points.tolist()), rel=1e-4)


def test_two_equal_dimensions_cost_the_number_of_images() -> None:
    """Standardised columns are equal: their product adds up to N, and N^2 / N = N; with the opposite sign too."""
    column = torch.tensor([[1.0], [2.0], [4.0], [7.0]])
    assert float(decorrelation(torch.cat([column, 10 * column], dim=1))) == pytest.approx(4, rel=1e-5)
    assert float(decorrelation(torch.cat([column, -column], dim=1))) == pytest.approx(4, rel=1e-5)


def test_uncorrelated_dimensions_cost_nothing() -> None:
    square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert float(decorrelation(square)) == pytest.approx(0, abs=1e-9)


def test_neither_shift_nor_scale_of_a_dimension_matters() -> None:
    points = cloud(8, 3, 2)
    moved = points * torch.tensor([1.0, 20.0, 0.5]) + torch.tensor([5.0, -3.0, 0.0])
    assert float(decorrelation(moved)) == pytest.approx(float(decorrelation(points)), rel=1e-4)


@pytest.mark.parametrize(
    "points", [torch.ones(1, 3), torch.ones(4, 3), torch.rand(4, 1)], ids=["one image", "a collapse", "one dimension"]
)
def test_degenerate_representations_cost_nothing_and_have_a_finite_gradient(points: torch.Tensor) -> None:
    points = points.clone().requires_grad_()
    value = decorrelation(points)
    value.backward()
    assert float(value.detach()) == 0
    assert points.grad is not None
    assert torch.isfinite(points.grad).all()


def test_the_penalty_is_the_weighted_value_over_all_views_as_one_batch() -> None:
    """Maps of (B, C, H, W) are flattened: two views of (4, 3, 1, 1) are eight rows of three."""
    views = tuple(cloud(4, 3, seed).view(4, 3, 1, 1).requires_grad_() for seed in (1, 2))
    value = FedDecorr(CONTEXT, weight=0.25).penalty(LocalRound(NETWORK, {}, representations=views))
    assert value is not None
    wanted = off_diagonal(torch.cat(views).flatten(1).tolist())
    assert float(value.detach()) == pytest.approx(0.25 * wanted, rel=1e-4)
    value.backward()
    assert all(view.grad is not None and float(view.grad.abs().sum()) > 0 for view in views)


def test_without_weight_there_is_no_penalty_at_all() -> None:
    assert FedDecorr(CONTEXT, weight=0).penalty(LocalRound(NETWORK, {})) is None
