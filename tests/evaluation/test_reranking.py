from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from fedmetric.config.experiment import RerankName
from fedmetric.errors import DataError
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.ranking import rank
from fedmetric.evaluation.reranking import RERANKERS, check_rerank, rankings, reranked_scores
from fedmetric.evaluation.retrieval import retrieval_scores
from fedmetric.evaluation.similarity import on_grid, similarity
from oracles.geometry import cloud, clusters, tied_points
from oracles.reranking import expanded, k_reciprocal_distances, relevance_by
from oracles.retrieval import cosine, metrics_of, negative_distance

NAMES = {"recall@1_reranked", "map@r_reranked"}


def test_every_name_that_an_experiment_may_ask_for_is_there() -> None:
    assert {"none", *RERANKERS} == set(get_args(RerankName))


@pytest.mark.parametrize("make", [cloud, tied_points])
def test_plain_similarities_rank_as_plain_retrieval_does(make) -> None:
    images = Labelled(make(60, 4, 0), np.random.default_rng(1).integers(0, 25, 60))
    (grid,) = on_grid(images.embeddings, distance="cosine")
    blocks = [(torch.arange(i, i + 20), similarity(grid[i : i + 20], grid, "cosine")) for i in (0, 20, 40)]
    expected = rank(images, images, same=True, depth=1)
    found = list(rankings(images, iter(blocks)))
    assert np.concatenate([part.query for part in found]).tolist() == expected.query.tolist()
    assert np.concatenate([part.first_hit for part in found]).tolist() == expected.first_hit.tolist()
    assert sum(part.skipped for part in found) == expected.skipped
    done = 0
    for part in found:
        width = part.relevance.shape[1]
        assert np.array_equal(part.relevance, expected.relevance[done : done + len(part.query), :width])
        done += len(part.query)


def means(nearness: list[list[float]], labels: list[int]) -> dict[str, float]:
    rows = [metrics_of(relevance_by(nearness[query], query, labels)) for query in range(len(labels))]
    kept = [row for row in rows if row is not None]
    return {f"{name}_reranked": sum(row[name] for row in kept) / len(kept) for name in ("recall@1", "map@r")}


@pytest.mark.parametrize("num_classes", [3, 20])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_k_reciprocal_scores_are_those_of_the_equations(distance, num_classes: int) -> None:
    points, labels = cloud(40, 4, 3), np.random.default_rng(6).integers(0, num_classes, 40) * 2**25
    scores = reranked_scores(Labelled(points, labels), "k-reciprocal", distance)
    near = cosine if distance == "cosine" else negative_distance
    distances = k_reciprocal_distances(points.double().tolist(), near, 20, 6, 0.3)
    expected = means([[-d for d in row] for row in distances], labels.tolist())
    assert {name: score.mean for name, score in scores.items()} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("num_classes", [3, 20])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_alpha_expansion_scores_are_those_of_the_equation(distance, num_classes: int) -> None:
    points, labels = cloud(40, 4, 3), np.random.default_rng(6).integers(0, num_classes, 40) * 2**25
    scores = reranked_scores(Labelled(points, labels), "alpha-qe", distance)
    rows, near = points.double().tolist(), cosine if distance == "cosine" else negative_distance
    asked = [expanded(query, rows, near, 10, 3.0) for query in range(40)]
    expected = means([[near(query, row) for row in rows] for query in asked], labels.tolist())
    assert {name: score.mean for name, score in scores.items()} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("method", RERANKERS)
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_neighbours_help_where_classes_are_clusters(method: str, distance) -> None:
    images = Labelled(*clusters(15, 20, 16, 0, spread=1.2))
    plain, better = retrieval_scores(images, distance), reranked_scores(images, method, distance)
    assert set(better) == NAMES
    before, after = plain["map@r"].mean, better["map@r_reranked"].mean
    assert before is not None
    assert after is not None
    assert after > before + 0.02
    assert better["map@r_reranked"].n == plain["map@r"].n


@pytest.mark.parametrize("method", RERANKERS)
@pytest.mark.parametrize("make", [cloud, tied_points])
def test_the_order_of_the_rows_does_not_matter(method: str, make) -> None:
    images = Labelled(make(70, 5, 0), np.random.default_rng(1).integers(0, 12, 70))
    whole = reranked_scores(images, method)
    turned = reranked_scores(images.subset(np.random.default_rng(0).permutation(70)), method)
    assert {name: score.mean for name, score in turned.items()} == pytest.approx(
        {name: score.mean for name, score in whole.items()}, abs=1e-12
    )


@pytest.mark.parametrize("method", RERANKERS)
def test_a_collapsed_encoder_gains_nothing_by_its_ties(method: str) -> None:
    """All images are one, so whatever the neighbours say cannot depend on the class."""
    scores = reranked_scores(Labelled(torch.ones(60, 3), np.arange(60) % 20), method)
    assert scores["recall@1_reranked"].mean is not None
    assert scores["recall@1_reranked"].mean < 0.2


@pytest.mark.parametrize("method", RERANKERS)
@pytest.mark.parametrize("labels", [[], [4], [1, 2, 3]])
def test_without_any_pair_scores_are_null(method: str, labels: list[int]) -> None:
    scores = reranked_scores(Labelled(cloud(len(labels), 2, 0), np.array(labels, np.int64)), method)
    assert set(scores) == NAMES
    assert all(score == Score(None, None, 0, len(labels)) for score in scores.values())


def test_no_re_ranking_measures_nothing() -> None:
    assert reranked_scores(Labelled(cloud(4, 2, 0), np.zeros(4, np.int64)), "none") == {}


def test_only_the_method_with_a_limit_refuses_large_sets() -> None:
    for method in ("none", "alpha-qe"):
        check_rerank(method, 10**9)
    with pytest.raises(DataError, match="20,000 at most"):
        check_rerank("k-reciprocal", 10**9)
