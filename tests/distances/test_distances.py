"""Each distance against its loop."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fedmetric.distances.base import PairDistance
from fedmetric.distances.cosine import Cosine
from fedmetric.distances.euclidean import Euclidean
from fedmetric.distances.mahalanobis import Mahalanobis
from fedmetric.distances.pair_mlp import PairMLP
from oracles.geometry import circle, cloud, tied_points
from oracles.pairs import Distance, cosine_distance, euclidean_distance, mahalanobis_distance, scaled_distance


def agree(measure: PairDistance, loop: Distance, queries: Tensor, gallery: Tensor) -> None:
    found = measure(queries, gallery).tolist()
    for i, query in enumerate(queries.tolist()):
        for j, row in enumerate(gallery.tolist()):
            assert found[i][j] == pytest.approx(loop(query, row), abs=1e-6)


@pytest.mark.parametrize(("measure", "loop"), [(Cosine(), cosine_distance), (Euclidean(), euclidean_distance)])
@pytest.mark.parametrize("make", [cloud, tied_points])
def test_a_distance_is_that_of_the_loop(measure: PairDistance, loop: Distance, make) -> None:
    agree(measure, loop, make(9, 5, 1), make(12, 5, 2))


def test_cosine_distance_is_half_the_square_of_the_euclidean() -> None:
    first, second = cloud(20, 8, 1).double(), cloud(30, 8, 2).double()
    assert torch.allclose(Cosine()(first, second), Euclidean()(first, second) ** 2 / 2, atol=1e-12)


@pytest.mark.parametrize("rank", [1, 3, 5, 8])
def test_mahalanobis_is_the_quadratic_form_of_the_loop(rank: int) -> None:
    measure = Mahalanobis(5, rank=rank)
    measure.weight.data = cloud(rank, 5, 3)
    rows = measure.weight.tolist()
    agree(measure, lambda a, b: mahalanobis_distance(a, b, rows), cloud(6, 5, 1), cloud(7, 5, 2))


@pytest.mark.parametrize("rank", [5, 9])
def test_mahalanobis_of_full_rank_starts_as_the_euclidean_distance(rank: int) -> None:
    first, second = cloud(20, 5, 1), cloud(30, 5, 2)
    torch.manual_seed(1)
    assert torch.allclose(Mahalanobis(5, rank=rank)(first, second), Euclidean()(first, second), atol=1e-5)


def test_mahalanobis_of_low_rank_starts_with_orthonormal_rows_and_is_never_longer() -> None:
    torch.manual_seed(1)
    measure = Mahalanobis(5, rank=3)
    first, second = cloud(20, 5, 1), cloud(30, 5, 2)
    assert torch.allclose(measure.weight @ measure.weight.T, torch.eye(3), atol=1e-5)
    assert bool((measure(first, second) <= Euclidean()(first, second) + 1e-6).all())


def test_mahalanobis_by_hand() -> None:
    """L doubles the first coordinate and drops the second: from 0 to 90 degrees it is 2, from 45 to -45 it is 0."""
    measure = Mahalanobis(2, rank=1)
    measure.weight.data = torch.tensor([[2.0, 0.0]])
    assert measure.between(circle(0, 45), circle(90, -45)).tolist() == pytest.approx([2, 0], abs=1e-6)


def test_a_pair_network_is_that_of_the_loop() -> None:
    torch.manual_seed(1)
    measure = PairMLP(5, hidden=4)
    measure.factor.weight.data = cloud(1, 4, 3)
    hidden, factor = measure.hidden, measure.factor
    given = hidden.weight.tolist(), hidden.bias.tolist(), factor.weight[0].tolist(), factor.bias.item()
    agree(measure, lambda a, b: scaled_distance(a, b, *given), cloud(6, 5, 1), cloud(7, 5, 2))


def test_a_pair_network_starts_as_the_euclidean_distance_and_learns_from_its_second_step() -> None:
    """The last layer starts at 0, so that only its own weights have a gradient in the first step."""
    torch.manual_seed(1)
    measure, first, second = PairMLP(5, hidden=4), cloud(20, 5, 1), cloud(30, 5, 2)
    assert torch.allclose(measure(first, second), Euclidean()(first, second), atol=1e-6)
    optimiser = torch.optim.SGD(measure.parameters(), lr=0.1)
    moved = []
    for _ in range(2):
        optimiser.zero_grad()
        measure(first, second).mean().backward()
        moved.append(bool(measure.hidden.weight.grad.any()))  # type: ignore[union-attr]
        optimiser.step()
    assert moved == [False, True]
