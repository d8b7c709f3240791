"""What each miner finds, against loops over the whole batch."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor

from fedmetric.distances.base import PairDistance
from fedmetric.distances.cosine import Cosine
from fedmetric.distances.euclidean import Euclidean
from fedmetric.miners.distance_weighted import distance_weighted
from fedmetric.miners.easy_hard import easy_hard
from fedmetric.miners.hard import hard
from fedmetric.miners.multi_similarity import multi_similarity
from fedmetric.miners.semi_hard import semi_hard
from oracles import pairs
from oracles.geometry import circle, cloud, tied_points
from oracles.pairs import Distance, cosine_distance, euclidean_distance

BIG = 2**24
LABELS = [
    [0, 0, 1, 1, 2, 0, 1, 2],
    [7, 3, 5, 7, 3, 3, 7, 7],
    [1, 1, 1, 1, 1, 1, 1, 4],
    [BIG, BIG + 1, BIG, BIG + 1, BIG + 2, BIG + 2, BIG, BIG + 1],
    [2, 2, 2, 2, 2, 2, 2, 2],
    [0, 1, 2, 3, 4, 5, 6, 7],
]
MEASURES: list[tuple[PairDistance, Distance]] = [(Cosine(), cosine_distance), (Euclidean(), euclidean_distance)]


def rows(found: tuple[Tensor, ...]) -> set[tuple[int, ...]]:
    return set(zip(*(column.tolist() for column in found), strict=True))


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize(("measure", "loop"), MEASURES)
def test_hard_triplets_are_those_of_the_loop(labels: list[int], measure: PairDistance, loop: Distance) -> None:
    points = cloud(8, 4, 1).double()
    found = hard(measure)(points, torch.tensor(labels))
    assert found is not None
    assert rows(found) == pairs.hard(points.tolist(), labels, loop)


@pytest.mark.parametrize("labels", LABELS)
def test_among_ties_the_hard_triplets_are_as_hard_as_those_of_the_loop(labels: list[int]) -> None:
    """Coordinates are 1 or -1, so that which of several equally far rows is taken is open."""
    points = tied_points(8, 3, 1).double()

    def hardness(chosen: set[tuple[int, ...]]) -> list[tuple[int, float, float]]:
        shown = points.tolist()
        return [
            (a, round(cosine_distance(shown[a], shown[p]), 9), round(cosine_distance(shown[a], shown[n]), 9))
            for a, p, n in sorted(chosen)
        ]

    found = hard(Cosine())(points, torch.tensor(labels))
    assert found is not None
    assert hardness(rows(found)) == hardness(set(pairs.hard(points.tolist(), labels, cosine_distance)))


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize(("measure", "loop"), MEASURES)
@pytest.mark.parametrize("margin", [0.2, 1.0])
def test_semi_hard_triplets_are_those_of_the_loop(
    labels: list[int], measure: PairDistance, loop: Distance, margin: float
) -> None:
    points = cloud(8, 4, 1).double()
    found = semi_hard(measure, margin=margin)(points, torch.tensor(labels))
    assert found is not None
    assert rows(found) == pairs.semi_hard(points.tolist(), labels, loop, margin)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize(("measure", "loop"), MEASURES)
@pytest.mark.parametrize("negatives", ["hard", "semihard"])
def test_easy_positives_are_those_of_the_loop(
    labels: list[int], measure: PairDistance, loop: Distance, negatives: str
) -> None:
    points = cloud(8, 4, 1).double()
    found = easy_hard(measure, negatives=negatives)(points, torch.tensor(labels))  # type: ignore[arg-type]
    assert found is not None
    anchors, near, same, far = found
    assert torch.equal(anchors, same)
    assert rows((anchors, near, far)) == pairs.easy_hard(points.tolist(), labels, loop, negatives == "semihard")


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize(("measure", "loop"), MEASURES)
@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_multi_similarity_pairs_are_those_of_the_loop(
    labels: list[int], measure: PairDistance, loop: Distance, epsilon: float
) -> None:
    points = cloud(8, 4, 1).double()
    found = multi_similarity(measure, epsilon=epsilon)(points, torch.tensor(labels))
    assert found is not None
    pulled, pushed = pairs.similarity_pairs(points.tolist(), labels, loop, epsilon)
    assert rows(found[:2]) == pulled
    assert rows(found[2:]) == pushed


def test_negatives_are_drawn_by_the_inverse_density_of_their_distance() -> None:
    """4,000 draws for one anchor of class 0: every share is within four deviations of its probability."""
    points = torch.cat([cloud(1, 5, 1), cloud(1, 5, 1) + 0.2 * cloud(1, 5, 2), cloud(6, 5, 3)]).double()
    labels = [0, 0, 1, 2, 3, 4, 5, 6]
    miner = distance_weighted(Euclidean(), cutoff=0.5, nonzero_loss_cutoff=1.6)
    counts: Counter[int] = Counter()
    torch.manual_seed(1)
    for _ in range(2000):
        found = miner(points, torch.tensor(labels))
        assert found is not None
        counts.update(n for a, _, n in zip(*(column.tolist() for column in found), strict=True) if a == 0)
    total = sum(counts.values())
    expected = pairs.sphere_weights(points.tolist(), labels, 0, 0.5, 1.6)
    assert total == 4000
    assert len(expected) > 2
    assert set(counts) <= set(expected)
    for negative, share in expected.items():
        assert counts[negative] / total == pytest.approx(share, abs=4 * (share * (1 - share) / total) ** 0.5)


def test_the_same_seed_draws_the_same_negatives() -> None:
    points, labels = cloud(12, 5, 1), torch.arange(12) % 4
    draws = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found = distance_weighted(Euclidean())(points, labels)
        assert found is not None
        draws.append(torch.stack(list(found)))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_a_batch_whose_negatives_are_all_too_far_draws_none() -> None:
    """At 180 degrees the distance is 2, beyond the cutoff of 1.4, and its density has no inverse."""
    found = distance_weighted(Euclidean())(circle(0, 0, 180, 180), torch.tensor([0, 0, 1, 1]))
    assert found is not None
    assert [len(column) for column in found] == [0, 0, 0]
