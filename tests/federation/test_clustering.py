"""Balanced clusters on points of the circle, and Sinkhorn's iteration against loops."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.federation.clustering import SHARPNESS, SINKHORN_STEPS, balanced, balanced_centroids, spread_out
from oracles import assignments


def circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def angles(points: np.ndarray) -> list[float]:
    return sorted(round(float(angle), 6) % 360 for angle in np.degrees(np.arctan2(points[:, 1], points[:, 0])))


def sizes(points: np.ndarray, centroids: np.ndarray) -> list[int]:
    return np.bincount(balanced(points @ centroids.T).argmax(axis=1), minlength=len(centroids)).tolist()


def test_assignments_are_those_of_sinkhorn_by_loops() -> None:
    """Rows are scaled before the first step, which changes the way and not the end: similarities that converge."""
    similarities = np.random.default_rng(1).uniform(-0.1, 0.1, (6, 3))
    wanted = assignments.balanced(similarities.tolist(), 1 / SHARPNESS, SINKHORN_STEPS)
    np.testing.assert_allclose(balanced(similarities), wanted, rtol=1e-6)


def test_rows_add_up_to_one_and_columns_to_their_share() -> None:
    found = balanced(np.random.default_rng(2).uniform(-0.2, 0.2, (12, 4)))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=0), 3, rtol=1e-2)


@pytest.mark.parametrize(("count", "wanted"), [(2, [6, 6]), (4, [3, 3, 3, 3])])
def test_clusters_are_of_equal_size_where_the_points_are_not(count: int, wanted: list[int]) -> None:
    """Nine points lie around 0 degrees and three around 180: the nearest centroid would have nine of them."""
    points = circle(*range(-20, 25, 5), 175, 180, 185)
    assert sizes(points, balanced_centroids(points, count)) == wanted


@pytest.mark.parametrize("count", [4, 8, 16])
def test_clusters_of_a_lopsided_cloud_are_near_equal_size(count: int) -> None:
    rng = np.random.default_rng(3)
    points = rng.normal(size=(64, 8))
    points[:48, 0] += 4
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    centroids = balanced_centroids(points, count)
    share = 64 / count
    assert max(abs(size - share) for size in sizes(points, centroids)) <= max(1, share / 4)
    nearest = np.bincount((points @ centroids.T).argmax(axis=1), minlength=count)
    assert np.std(sizes(points, centroids)) < nearest.std()


def test_equal_groups_have_their_own_directions_as_centroids() -> None:
    points = circle(0, 10, 120, 130, 240, 250)
    assert angles(balanced_centroids(points, 3)) == pytest.approx([5, 125, 245])


def test_centroids_have_unit_norm_and_depend_on_the_points_alone() -> None:
    points = circle(3, 50, 77, 140, 222, 301)
    first, second = balanced_centroids(points, 4), balanced_centroids(points.astype(np.float32), 4)
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert np.array_equal(first, balanced_centroids(points, 4))


def test_starting_points_lie_far_apart() -> None:
    """From 0 degrees the farthest is 170; then 80, whose nearest of both is 80 away."""
    assert angles(spread_out(circle(0, 10, 80, 170), 3)) == pytest.approx([0, 80, 170])


def test_with_fewer_points_than_clusters_points_stand_for_several() -> None:
    found = balanced_centroids(circle(0, 90), 5)
    assert found.shape == (5, 2)
    assert set(angles(found)) == {0.0, 90.0}
