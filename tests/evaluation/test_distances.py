"""Retrieval and few-shot classification by the distances that networks are trained for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmetric.distances.base import PairDistance
from fedmetric.distances.cosine import Cosine
from fedmetric.distances.mahalanobis import Mahalanobis
from fedmetric.evaluation import similarity as module
from fedmetric.evaluation.embeddings import placed
from fedmetric.evaluation.episodes import draw_episodes
from fedmetric.evaluation.fewshot import episode_accuracies, few_shot
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.ranking import Ranking, rank_blocks
from fedmetric.evaluation.retrieval import retrieval_scores
from fedmetric.evaluation.similarity import TIE, similarity
from oracles.geometry import circle, cloud, clusters, tied_points
from oracles.retrieval import sorted_relevance
from trained_distance import NAMES, trained


def facts(blocks: list[Ranking]) -> dict[int, tuple[list[bool], int, int]]:
    """Return, for each query, its relevance as deep as R, R and the rank of its first hit."""
    return {
        int(query): (row[:r].tolist(), int(r), int(first))
        for block in blocks
        for query, row, r, first in zip(block.query, block.relevance, block.num_relevant, block.first_hit, strict=True)
    }


def ranked(data: Labelled, distance: PairDistance, **options: int) -> dict[int, tuple[list[bool], int, int]]:
    return facts(list(rank_blocks(data, data, same=True, distance=distance, **options)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [cloud, tied_points])
def test_every_ranking_is_that_of_a_full_sort_by_the_distance(name: str, make) -> None:
    points, labels = make(60, 5, 3), np.random.default_rng(4).integers(0, 9, 60)
    distance = trained(name, 5)

    def near(a: list[float], b: list[float]) -> float:
        with torch.no_grad():
            return -float(distance.between(torch.tensor([a]).double(), torch.tensor([b]).double()))

    found = ranked(Labelled(points, labels), distance)
    for query in range(60):
        expected = sorted_relevance(query, points.tolist(), labels.tolist(), near)
        r = sum(expected)
        if r:
            assert found[query] == (expected[:r], r, 1 + expected.index(True))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make", [cloud, tied_points])
def test_neither_the_size_of_a_block_nor_the_order_of_the_rows_changes_a_ranking(
    name: str, make, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, labels, distance = make(90, 4, 1), np.random.default_rng(2).integers(0, 20, 90), trained(name, 4)
    whole = ranked(Labelled(points, labels), distance)
    assert ranked(Labelled(points, labels), distance, block_rows=7) == whole
    order = np.random.default_rng(3).permutation(90)
    shuffled = ranked(Labelled(points[torch.from_numpy(order)], labels[order]), distance)
    assert {int(order[query]): fact for query, fact in shuffled.items()} == whole
    monkeypatch.setattr(module, "PAIR_ELEMENTS", 64)
    assert ranked(Labelled(points, labels), distance) == whole


@pytest.mark.parametrize("name", NAMES)
def test_separate_queries_are_ranked_by_the_distance_too(name: str) -> None:
    """The query at 1 degree is nearest to its own class at 0 by every distance of points on a circle."""
    queries, gallery = Labelled(circle(1), np.array([4])), Labelled(circle(0, 70, 200), np.array([4, 5, 6]))
    (ranking,) = rank_blocks(queries, gallery, distance=trained(name, 2))
    assert ranking.first_hit.tolist() == [1]


def test_a_distance_without_a_geometry_sees_few_pairs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for 60 coordinates, five queries of 4 dimensions are compared with 3 rows at once."""
    seen: list[tuple[int, int]] = []
    distance = trained("pair-mlp", 4)
    compare = distance.compare
    monkeypatch.setattr(module, "PAIR_ELEMENTS", 60)
    monkeypatch.setattr(distance, "compare", lambda q, g: seen.append((len(q), len(g))) or compare(q, g))
    similarity(cloud(5, 4, 1), cloud(7, 4, 2), distance)
    assert seen == [(5, 3), (5, 3), (5, 1)]


def test_the_nearness_of_pairs_leaves_room_for_ties() -> None:
    found = similarity(cloud(9, 4, 1), 100 * cloud(30, 4, 2), trained("pair-mlp", 4))
    assert bool(((found > -1) & (found <= 0)).all())
    assert torch.equal(found * module.GRID, (found * module.GRID).round())
    assert bool((found - TIE < found).all())


def test_without_weights_scores_are_those_of_the_cosine_to_the_last_bit() -> None:
    points, labels = clusters(12, 9, 6, 1, spread=1.5)
    data = Labelled(points, labels)
    for name in ("cosine", "euclidean"):
        assert retrieval_scores(data, trained(name, 6)) == retrieval_scores(data)
        assert few_shot(data, 5, 1, seed=1, distance=trained(name, 6)) == few_shot(data, 5, 1, seed=1)


def test_a_learned_map_that_finds_the_class_is_what_scores_are_taken_by() -> None:
    """The class is the sign of the first coordinate; three loud coordinates hide it from the cosine."""
    labels = np.repeat([0, 1], 30)
    points = 3 * cloud(60, 4, 1)
    points[:, 0] = torch.from_numpy(np.where(labels == 0, -1.0, 1.0))
    data = Labelled(torch.nn.functional.normalize(points), labels)
    distance = Mahalanobis(4, rank=1)
    distance.weight.data = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    for score in (
        lambda d: retrieval_scores(data, d)["r_precision"].mean,
        lambda d: few_shot(data, 2, 5, seed=1, distance=d).mean,
    ):
        plain, learned = score("cosine"), score(distance)
        assert plain is not None
        assert plain < 0.8
        assert learned is not None
        assert learned > 0.95


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n_way", "n_shot"), [(2, 1), (5, 3)])
def test_every_episode_scores_as_one_query_at_a_time(name: str, n_way: int, n_shot: int) -> None:
    points, labels = clusters(9, 12, 6, 2, spread=1.5)
    episodes, distance = draw_episodes(labels, n_way, n_shot, 6, 10, seed=5), trained(name, 6)
    unit = torch.nn.functional.normalize(points)
    for value, support, queries in zip(
        episode_accuracies(Labelled(points, labels), episodes, distance),
        episodes.support,
        episodes.queries,
        strict=True,
    ):
        prototypes = torch.stack([unit[rows].mean(dim=0) for rows in torch.from_numpy(support)])
        right = [
            int(distance(points[[row]], prototypes).argmin()) == own for own, rows in enumerate(queries) for row in rows
        ]
        assert value == pytest.approx(np.mean(right))


def test_what_a_geometry_compares_is_placed_in_float64() -> None:
    rows = cloud(5, 4, 1)
    (found,), geometry = placed(rows, distance=trained("mahalanobis", 4))
    assert (found.dtype, found.shape, geometry) == (torch.float64, (5, 64), "euclidean")
    (same,), geometry = placed(rows, distance=Cosine())
    assert same is rows
    assert geometry == "cosine"
    (same,), unplaced = placed(rows, distance=trained("pair-mlp", 4))
    assert same is rows
    assert isinstance(unplaced, PairDistance)
