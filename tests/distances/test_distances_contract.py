"""What every registered distance must do, whatever its name."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from fedmetric.distances.base import PairDistance
from fedmetric.distances.library import LibraryDistance
from fedmetric.registry import distances
from oracles.geometry import circle, cloud
from trained_distance import NAMES, trained

DIM = 6


def distance(name: str, dim: int = DIM) -> PairDistance:
    return trained(name, dim, by=0.3)


def value(name: str, queries: Tensor, gallery: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = distance(name, queries.shape[1]).double()(queries.double(), gallery.double())
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_query_is_compared_with_every_row(name: str) -> None:
    found = distance(name)(cloud(3, DIM, 1), cloud(5, DIM, 2))
    assert found.shape == (3, 5)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_row_by_row_it_is_the_diagonal(name: str) -> None:
    first, second = cloud(7, DIM, 1), cloud(7, DIM, 2)
    measure = distance(name)
    assert torch.allclose(measure.between(first, second), measure(first, second).diagonal(), atol=1e-6)
    assert measure.between(first[:0], second[:0]).shape == (0,)


@pytest.mark.parametrize("name", NAMES)
def test_leading_dimensions_are_compared_apart(name: str) -> None:
    queries, gallery = cloud(8, DIM, 1).reshape(2, 4, DIM), cloud(6, DIM, 2).reshape(2, 3, DIM)
    measure = distance(name)
    apart = torch.stack([measure(q, g) for q, g in zip(queries, gallery, strict=True)])
    assert torch.allclose(measure(queries, gallery), apart, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_symmetric_never_negative_and_zero_between_equals(name: str) -> None:
    points = torch.cat([cloud(6, DIM, 1), cloud(6, DIM, 1)])
    found = value(name, points, points)
    assert torch.allclose(found, found.T, atol=1e-12)
    assert float(found.min()) >= 0
    assert torch.allclose(found.diagonal(), torch.zeros(12).double(), atol=1e-12)
    assert torch.allclose(found[:6, 6:].diagonal(), torch.zeros(6).double(), atol=1e-12)
    apart = found[:6, :6][~torch.eye(6).bool()]
    assert float(apart.min()) > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_the_length_of_an_embedding_does_not_count(name: str) -> None:
    queries, gallery = cloud(4, DIM, 1), cloud(5, DIM, 2)
    assert torch.allclose(value(name, 7 * queries, 0.2 * gallery), value(name, queries, gallery), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_even_between_equals(name: str) -> None:
    measure, points = distance(name), cloud(4, DIM, 1)[[0, 0, 1, 2]].requires_grad_()
    (measure(points, points).sum() + measure.between(points, points.flip(0)).sum()).backward()
    grads = [points.grad, *(weight.grad for weight in measure.parameters())]
    assert all(grad is not None and torch.isfinite(grad).all() for grad in grads)


@pytest.mark.parametrize("name", NAMES)
def test_learned_says_whether_there_are_weights(name: str) -> None:
    measure = distance(name)
    assert measure.learned is bool(list(measure.parameters()))
    assert bool(measure.state_dict()) is measure.learned
    assert distances[name].traits.get("learned", False) is measure.learned
    assert distances[name].traits.get("geometry", "") == measure.geometry


@pytest.mark.parametrize("name", [name for name in NAMES if distances[name].traits.get("geometry")])
def test_a_geometry_orders_what_it_places_as_the_distance_does(name: str) -> None:
    queries, gallery = cloud(9, DIM, 1).double(), cloud(20, DIM, 2).double()
    measure = distance(name).double()
    first, second = measure.place(queries), measure.place(gallery)
    if measure.geometry == "cosine":
        shown = -torch.nn.functional.normalize(first) @ torch.nn.functional.normalize(second).T
    else:
        shown = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
    assert torch.equal(shown.argsort(dim=1), measure(queries, gallery).argsort(dim=1))


@pytest.mark.parametrize("name", NAMES)
def test_the_library_is_given_the_same_distance(name: str) -> None:
    measure = distance(name)
    library = LibraryDistance(measure)
    first, second = cloud(4, DIM, 1), cloud(4, DIM, 2)
    assert torch.equal(library(first, second), measure(first, second))
    assert torch.equal(library(first), measure(first, first))
    assert torch.equal(library.pairwise_distance(first, second), measure.between(first, second))
    assert not library.is_inverted


@pytest.mark.parametrize("name", NAMES)
def test_the_library_holds_no_weights_of_its_own_and_follows_a_copy(name: str) -> None:
    together = torch.nn.ModuleDict({"distance": distance(name)})
    together["library"] = LibraryDistance(together["distance"])
    assert all(key.startswith("distance.") for key in together.state_dict())
    copied, points = copy.deepcopy(together), cloud(4, DIM, 1)
    for weight in copied["distance"].parameters():
        weight.data += 0.5
    assert torch.equal(copied["library"](points), copied["distance"](points, points))
    assert torch.equal(together["library"](points), together["distance"](points, points))


@pytest.mark.parametrize(("name", "expected"), [("cosine", [0.5, 1, 2]), ("euclidean", [1, 2**0.5, 2])])
def test_points_on_a_circle(name: str, expected: list[float]) -> None:
    """At 60, 90 and 180 degrees from the query, whatever their lengths: 1 - cos, and the chord."""
    found = value(name, 3 * circle(0), torch.cat([circle(60), 5 * circle(90), circle(180)]))
    assert found[0].tolist() == pytest.approx(expected, abs=1e-6)
