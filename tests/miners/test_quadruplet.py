"""Batch-hard quadruplets against searches over the whole batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fedmetric.distances.cosine import Cosine
from fedmetric.distances.euclidean import Euclidean
from fedmetric.distances.mahalanobis import Mahalanobis
from fedmetric.miners.quadruplet import Quadruplets, hardest
from oracles.geometry import circle, cloud, tied_points
from oracles.pairs import all_quadruplets, euclidean_distance, mahalanobis_distance, quadruplets

BIG = 2**24
LABELS = [
    [0, 0, 1, 1, 2, 0, 1, 2],
    [7, 3, 5, 7, 3, 3, 7, 7],
    [0, 0, 1, 2, 3, 4, 5, 6],
    [BIG, BIG + 1, BIG, BIG + 1, BIG + 2, BIG + 2, BIG, BIG + 1],
]


def mined(points: Tensor, labels: list[int]) -> list[tuple[int, ...]]:
    found = Quadruplets(Euclidean())(points, torch.tensor(labels))
    assert all(column.dtype == torch.int64 for column in found)
    return list(zip(*(column.tolist() for column in found), strict=True))


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("make", [cloud, tied_points])
def test_every_anchor_has_the_distances_that_a_search_finds(labels: list[int], make) -> None:
    """With coordinates of 1 and -1 many rows tie. Which first negative is taken is open, the second follows from it."""
    points = make(8, 3, 1).double()
    measured = Euclidean()(points, points)
    expected = quadruplets(points.tolist(), labels, euclidean_distance)
    found = mined(points, labels)
    assert [a for a, *_ in found] == sorted(expected)
    for a, p, first, second in found:
        third = [j for j in range(8) if labels[j] not in (labels[a], labels[first])]
        nearest = min(measured[first, j].item() for j in third) if make is tied_points else expected[a][2]
        distances = measured[a, p].item(), measured[a, first].item(), measured[first, second].item()
        assert distances == pytest.approx((*expected[a][:2], nearest), abs=1e-9)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("make", [cloud, tied_points])
def test_every_quadruplet_is_of_three_classes(labels: list[int], make) -> None:
    assert set(mined(make(8, 3, 1), labels)) <= all_quadruplets(labels)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 0, 1, 0, 1], [4] * 8, list(range(8))])
def test_fewer_than_three_classes_or_single_images_have_none(labels: list[int]) -> None:
    assert mined(cloud(8, 3, 1), labels) == []
    assert all_quadruplets(labels) == set()


def test_points_on_a_circle() -> None:
    """Anchor 0 has its positive at 50; the nearest other class is at 70, and nearest to that a third class at 100."""
    found = mined(circle(0, 50, 70, 100, 200), [1, 1, 2, 3, 3])
    assert found[0] == (0, 1, 2, 3)
    assert [a for a, *_ in found] == [0, 1, 3, 4]


def test_the_distance_is_that_of_the_loss() -> None:
    torch.manual_seed(1)
    measure, points, labels = Mahalanobis(4, rank=2).double(), cloud(8, 4, 1).double(), LABELS[0]
    measure.weight.data = cloud(2, 4, 5).double()
    rows = measure.weight.tolist()
    expected = quadruplets(points.tolist(), labels, lambda a, b: mahalanobis_distance(a, b, rows))
    found = Quadruplets(measure)(points, torch.tensor(labels))
    measured = measure(points, points).detach()
    for a, p, first, second in zip(*(column.tolist() for column in found), strict=True):
        assert (measured[a, p].item(), measured[a, first].item(), measured[first, second].item()) == pytest.approx(
            expected[a], abs=1e-9
        )


def test_a_batch_of_a_thousand_needs_no_more_than_matrices() -> None:
    """All quadruplets of these would be some 10^11."""
    points, labels = cloud(1000, 4, 1), torch.arange(1000) % 50
    anchors, positive, first, second = hardest(Cosine()(points, points), labels)
    assert len(anchors) == 1000
    classes = [labels[rows] for rows in (anchors, positive, first, second)]
    assert torch.equal(classes[0], classes[1])
    assert not (classes[0] == classes[2]).any()
    assert not (classes[0] == classes[3]).any()
    assert not (classes[2] == classes[3]).any()
