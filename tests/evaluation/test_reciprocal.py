from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmetric.errors import DataError
from fedmetric.evaluation import reciprocal as module
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.reciprocal import MAX_IMAGES, check_size, k_reciprocal, nearest_rows, reciprocal_sets
from fedmetric.evaluation.similarity import on_grid
from oracles.geometry import circle, cloud, clusters, tied_points
from oracles.reranking import half_squared, k_reciprocal_distances
from oracles.retrieval import cosine, negative_distance


def distances(points: torch.Tensor, distance="cosine", **options) -> np.ndarray:
    blocks = list(k_reciprocal(Labelled(points, np.zeros(len(points), np.int64)), distance, **options))
    assert torch.cat([rows for rows, _ in blocks]).tolist() == list(range(len(points)))
    return -torch.cat([nearness for _, nearness in blocks]).numpy()


def test_reciprocal_neighbours_on_a_circle() -> None:
    """At 0, 4, 10, 40 degrees with k = 1: 0 and 4 choose each other, 10 chooses 4 and 40 chooses 10, in vain."""
    (grid,) = on_grid(circle(0, 4, 10, 40), distance="cosine")
    near = nearest_rows(grid, "cosine", 1, block=3)
    assert near.tolist() == [[0, 1], [1, 0], [2, 1], [3, 2]]
    assert [own.tolist() for own in reciprocal_sets(near, 1)] == [[0, 1], [0, 1], [2], [3]]


def test_equally_near_rows_come_in_their_order() -> None:
    (grid,) = on_grid(torch.ones(5, 2), distance="cosine")
    assert nearest_rows(grid, "cosine", 2, block=5).tolist() == [[0, 1, 2], [1, 0, 2], [2, 0, 1], [3, 0, 1], [4, 0, 1]]


@pytest.mark.parametrize("make", [cloud, tied_points])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (4, 1), (7, 3), (20, 6)])
def test_distances_are_those_of_the_equations(make, distance, k1: int, k2: int) -> None:
    points = make(30, 5, 4)
    near = cosine if distance == "cosine" else negative_distance
    expected = k_reciprocal_distances(points.double().tolist(), near, k1, k2, 0.3)
    assert np.allclose(distances(points, distance, k1=k1, k2=k2), expected, atol=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_lambda_one_is_the_original_distance(distance) -> None:
    points = cloud(20, 4, 0)
    near = cosine if distance == "cosine" else negative_distance
    assert np.allclose(distances(points, distance, weight=1.0), half_squared(points.tolist(), near), atol=1e-6)


def test_distances_are_symmetric_and_lie_between_zero_and_one_plus_lambda() -> None:
    found = distances(clusters(6, 6, 5, 0, spread=1.0)[0], k1=5, k2=3)
    assert np.allclose(found, found.T, atol=1e-9)
    assert -1e-6 < found.min() <= found.max() < 0.7 + 0.3 * 2


def test_the_size_of_a_block_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points = tied_points(50, 6, 2)
    whole = distances(points, k1=6)
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 50 * 7)
    assert np.array_equal(distances(points, k1=6), whole)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_fewer_images_than_neighbours_are_no_error(count: int) -> None:
    images = Labelled(cloud(count, 3, 0), np.zeros(count, np.int64))
    assert sum(len(rows) for rows, _ in k_reciprocal(images)) == count


def test_sets_that_would_take_many_minutes_are_refused() -> None:
    check_size(MAX_IMAGES)
    with pytest.raises(DataError, match="k-reciprocal' for 20,001 images, but it is for 20,000 at most; set"):
        check_size(20_001)
