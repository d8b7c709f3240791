from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmetric.errors import DataError
from fedmetric.evaluation.embeddings import Distance
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.ranking import Ranking, rank, rank_blocks
from oracles.geometry import circle, cloud, tied_points
from oracles.retrieval import cosine, negative_distance, sorted_relevance

HAND = Labelled(circle(0, 10, 50, 22, 65, 300), np.array([7, 7, 7, 3, 3, 5]))
"""Class 7 at 0, 10 and 50 degrees, class 3 at 22 and 65, class 5 alone at 300."""


def same(data: Labelled, distance: Distance = "cosine", block_rows: int | None = None) -> list[Ranking]:
    return list(rank_blocks(data, data, same=True, distance=distance, block_rows=block_rows))


def facts(blocks: list[Ranking]) -> dict[int, tuple[list[bool], int, int]]:
    """Return, for each query, its relevance as deep as R, R and the rank of its first hit."""
    return {
        int(query): (row[:r].tolist(), int(r), int(first))
        for block in blocks
        for query, row, r, first in zip(block.query, block.relevance, block.num_relevant, block.first_hit, strict=True)
    }


def test_points_on_a_circle_are_ranked_by_angle() -> None:
    """From 50 degrees: 65 (15 away, class 3), 22 (28, class 3), 10 (40, class 7), 0 (50, class 7), 300 (class 5)."""
    ranking = rank(HAND, HAND, same=True)
    assert ranking.query.tolist() == [0, 1, 2, 3, 4]
    assert ranking.relevance[2].tolist() == [False, False, True, True] + [False] * 6
    assert ranking.num_relevant.tolist() == [2, 2, 2, 1, 1]
    assert ranking.first_hit.tolist() == [1, 1, 3, 4, 2]


def test_a_class_with_one_image_is_skipped_and_counted() -> None:
    ranking = rank(HAND, HAND, same=True)
    assert ranking.skipped == 1
    assert 5 not in ranking.query


def test_a_class_missing_from_the_gallery_is_skipped_and_counted() -> None:
    queries = Labelled(circle(1, 2, 3, 4), np.array([3, 9, 1, 7]))
    ranking = rank(queries, HAND)
    assert ranking.query.tolist() == [0, 3]
    assert ranking.num_relevant.tolist() == [2, 3]
    assert ranking.skipped == 2


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("make", [cloud, tied_points])
def test_every_ranking_is_that_of_a_full_sort(make, distance: Distance) -> None:
    points, labels = make(60, 5, 3), np.random.default_rng(4).integers(0, 9, 60)
    near = cosine if distance == "cosine" else negative_distance
    found = facts(same(Labelled(points, labels), distance))
    for query in range(60):
        expected = sorted_relevance(query, points.tolist(), labels.tolist(), near)
        r = sum(expected)
        if r:
            assert found[query] == (expected[:r], r, 1 + expected.index(True))
        else:
            assert query not in found


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("block_rows", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize("make", [cloud, tied_points])
def test_the_size_of_a_block_changes_nothing(make, distance: Distance, block_rows: int) -> None:
    data = Labelled(make(150, 4, 1), np.random.default_rng(2).integers(0, 30, 150))
    whole, parts = same(data, distance), same(data, distance, block_rows)
    assert facts(parts) == facts(whole)
    assert sum(block.skipped for block in parts) == sum(block.skipped for block in whole)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("make", [cloud, tied_points])
def test_the_order_of_the_rows_changes_nothing(make, distance: Distance) -> None:
    points, labels = make(150, 4, 1), np.random.default_rng(2).integers(0, 30, 150)
    order = np.random.default_rng(3).permutation(150)
    straight = facts(same(Labelled(points, labels), distance))
    shuffled = facts(same(Labelled(points[torch.from_numpy(order)], labels[order]), distance))
    assert {int(order[query]): fact for query, fact in shuffled.items()} == straight


def test_a_tie_puts_other_classes_first() -> None:
    """At 0 degrees with neighbours at -20 (same class) and +20 (another): equally near, so the hit is at rank 2."""
    data = Labelled(circle(0, -20, 20), np.array([1, 1, 2]))
    for order in ([0, 1, 2], [0, 2, 1], [2, 0, 1]):
        ranking = rank(data.subset(np.array(order)), data.subset(np.array(order)), same=True)
        assert ranking.first_hit[ranking.query.tolist().index(order.index(0))] == 2


def test_a_collapsed_encoder_finds_its_class_last() -> None:
    """Twelve equal points of four classes: the nine of other classes stand before the two of the query's own."""
    data = Labelled(torch.ones(12, 3), np.repeat(np.arange(4), 3))
    assert rank(data, data, same=True).first_hit.tolist() == [10] * 12


def test_the_query_is_removed_by_index_even_among_its_copies() -> None:
    """Two copies of one image: each finds the other at rank 1, and R = 1 is not counted as 2."""
    data = Labelled(circle(5, 5, 90), np.array([1, 1, 2]))
    ranking = rank(data, data, same=True)
    assert ranking.num_relevant.tolist() == [1, 1]
    assert ranking.first_hit.tolist() == [1, 1]


def test_labels_above_two_to_the_24_do_not_merge() -> None:
    base = 2**24
    data = Labelled(circle(0, 1, 40, 41), np.array([base, base + 1, base, base + 1]))
    assert rank(data, data, same=True).num_relevant.tolist() == [1, 1, 1, 1]
    assert rank(data, data, same=True).first_hit.tolist() == [2, 3, 3, 2]


def test_rankings_are_as_deep_as_the_largest_class() -> None:
    data = Labelled(cloud(60, 3, 0), np.repeat([0, 1], 30))
    assert rank(data, data, same=True).relevance.shape == (60, 29)


def test_separate_sets_that_share_rows_are_refused_with_their_count() -> None:
    gallery = HAND.subset(np.array([1, 2, 5]))
    with pytest.raises(DataError, match="3 of 6 query rows also stand in the gallery"):
        rank_blocks(HAND, gallery)
    assert next(rank_blocks(HAND, gallery, allow_overlap=True)).num_relevant.tolist() == [2, 2, 2, 1]


def test_a_set_that_is_not_the_same_is_refused() -> None:
    with pytest.raises(DataError, match="same=True, but the 6 queries and the 6 gallery rows differ"):
        rank_blocks(HAND, HAND.subset(np.arange(6)[::-1].copy()), same=True)


def test_sets_of_unlike_dimension_are_refused() -> None:
    with pytest.raises(DataError, match="queries have 3 dimensions and the gallery 2"):
        rank_blocks(Labelled(cloud(4, 3, 0), np.zeros(4, np.int64)), HAND)


def test_an_empty_side_skips_every_query() -> None:
    nothing = Labelled(torch.empty(0, 0), np.zeros(0, np.int64))
    assert rank(HAND, nothing).skipped == 6
    assert rank(nothing, HAND).skipped == 0
    assert len(rank(nothing, nothing, same=True).query) == 0


def test_memory_stays_a_few_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 64 KiB for 500 rows, a block is 64 * 1024 / (8 * 500) = 16 queries."""
    monkeypatch.setattr("fedmetric.evaluation.ranking.BLOCK_BYTES", 64 * 1024)
    data = Labelled(cloud(500, 3, 0), np.repeat(np.arange(50), 10))
    assert [len(block.query) for block in same(data)] == [16] * 31 + [4]
