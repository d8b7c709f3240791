from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN

from fedmetric.errors import DataError
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.ranking import Ranking, rank
from fedmetric.evaluation.retrieval import (
    METRICS,
    cmc_at_k,
    mean_average_precision_at_r,
    r_precision,
    recall_at_k,
    reciprocal_rank,
    retrieval_scores,
    summarise,
)
from oracles.geometry import circle, cloud, clusters, tied_points
from oracles.retrieval import cosine, metrics_of, negative_distance, retrieval


def one(*relevance: int) -> Ranking:
    """Return the ranking of one query whose whole gallery has this relevance."""
    row = np.array([relevance], bool)
    return Ranking(np.zeros(1, np.int64), row, row.sum(axis=1), row.argmax(axis=1) + 1, 0)


def test_precision_at_r_looks_at_the_r_nearest() -> None:
    """R = 3, ranks 2, 3 and 5 are hits: two of the three nearest; P(2) = 1/2 and P(3) = 2/3, so MAP@R = (7/6)/3."""
    ranking = one(0, 1, 1, 0, 1)
    assert r_precision(ranking)[0] == pytest.approx(2 / 3)
    assert mean_average_precision_at_r(ranking)[0] == pytest.approx(7 / 18)
    assert reciprocal_rank(ranking)[0] == 0.5


def test_hits_beyond_rank_r_count_for_recall_alone() -> None:
    """R = 2 with hits at ranks 3 and 4."""
    ranking = one(0, 0, 1, 1)
    assert r_precision(ranking)[0] == mean_average_precision_at_r(ranking)[0] == 0
    assert [recall_at_k(ranking, k)[0] for k in (1, 2, 3, 4)] == [0, 0, 1, 1]


def test_every_metric_of_every_short_list_is_that_of_the_definition() -> None:
    for bits in range(1, 2**7):
        relevance = [bool(bits >> i & 1) for i in range(7)]
        expected = metrics_of(relevance)
        assert expected is not None
        for name, metric in METRICS.items():
            assert metric(one(*relevance))[0] == pytest.approx(expected[name], abs=1e-12), (name, relevance)


def test_points_on_a_circle_score_as_derived_by_hand() -> None:
    """Class 7 at 0, 10, 50 degrees, class 3 at 22, 65, class 5 alone at 300. First hits at 1, 1, 3, 4 and 2.

    Recall@1 = 2/5. The queries at 0 and 10 have one hit within R = 2, at rank 1: R-precision = MAP@R = 1/2 each, and 0
    for the others: 1/5. MRR = (1 + 1 + 1/3 + 1/4 + 1/2) / 5 = 37/60.
    """
    scores = retrieval_scores(Labelled(circle(0, 10, 50, 22, 65, 300), np.array([7, 7, 7, 3, 3, 5])))
    expected = {"recall@1": 2 / 5, "recall@5": 1, "recall@10": 1, "r_precision": 1 / 5, "map@r": 1 / 5, "mrr": 37 / 60}
    assert {name: score.mean for name, score in scores.items()} == pytest.approx(expected)
    assert all((score.n, score.skipped) == (5, 1) for score in scores.values())


@pytest.mark.parametrize("make", [cloud, tied_points])
@pytest.mark.parametrize("num_classes", [2, 7, 40])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_scores_are_those_of_the_slow_definition(make, num_classes: int, distance) -> None:
    """Two classes make R larger than 10; forty leave singletons; points with coordinates -1 and 1 repeat and tie."""
    points, labels = make(70, 6, 5), np.random.default_rng(6).integers(0, num_classes, 70) * 2**25
    scores = retrieval_scores(Labelled(points, labels), distance)
    near = cosine if distance == "cosine" else negative_distance
    expected, counted, skipped = retrieval(points.tolist(), labels.tolist(), near)
    for name, score in scores.items():
        assert score.mean == pytest.approx(expected[name], abs=1e-6), name
        assert (score.n, score.skipped) == (counted, skipped)


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_are_those_of_pytorch_metric_learning_where_nothing_ties(seed: int) -> None:
    points, labels = clusters(12, 9, 8, seed, spread=1.0)
    keys = ("precision_at_1", "r_precision", "mean_average_precision_at_r", "mean_reciprocal_rank")
    calculator = AccuracyCalculator(keys, k=107, device=torch.device("cpu"), knn_func=CustomKNN(CosineSimilarity()))
    theirs = calculator.get_accuracy(points, torch.from_numpy(labels))
    ours = retrieval_scores(Labelled(points, labels))
    for name, key in zip(("recall@1", "r_precision", "map@r", "mrr"), keys, strict=True):
        assert ours[name].mean == pytest.approx(theirs[key], abs=1e-6)


def test_a_perfect_encoder_scores_one_everywhere() -> None:
    points, labels = clusters(6, 5, 16, 0, spread=1e-4)
    assert all(score.mean == 1 and score.ci95 == 0 for score in retrieval_scores(Labelled(points, labels)).values())


def test_a_collapsed_encoder_scores_the_worst_its_ties_allow() -> None:
    """Five classes of four equal points: sixteen of other classes stand first, so the first hit is at rank 17."""
    scores = retrieval_scores(Labelled(torch.ones(20, 3), np.repeat(np.arange(5), 4)))
    assert scores["recall@10"].mean == scores["map@r"].mean == 0
    assert scores["mrr"].mean == pytest.approx(1 / 17)


def test_the_names_of_the_classes_do_not_matter() -> None:
    points, labels = clusters(9, 4, 5, 3, spread=1.0)
    renamed = np.random.default_rng(0).permutation(9)[labels] * 1_000_003 + 2**40
    assert retrieval_scores(Labelled(points, labels)) == retrieval_scores(Labelled(points, renamed))


def test_turning_and_scaling_the_space_does_not_matter() -> None:
    points, labels = clusters(9, 4, 5, 3, spread=1.0)
    turn = torch.linalg.qr(cloud(5, 5, 9).double()).Q
    moved = retrieval_scores(Labelled(points.double() @ turn * 17, labels))
    assert moved == retrieval_scores(Labelled(points, labels))


def test_recall_grows_with_k_and_is_also_called_cmc() -> None:
    data = Labelled(cloud(50, 3, 0), np.repeat(np.arange(10), 5))
    ranking = rank(data, data, same=True)
    means = [recall_at_k(ranking, k).mean() for k in range(1, 50)]
    assert means == sorted(means)
    assert means[-1] == 1
    assert np.array_equal(cmc_at_k(ranking, 3), recall_at_k(ranking, 3))


def test_k_below_one_is_refused() -> None:
    with pytest.raises(DataError, match="recall at k=0"):
        recall_at_k(one(1), 0)


@pytest.mark.parametrize("labels", [[], [4], [1, 2, 3]])
def test_scores_without_any_pair_are_null_and_count_what_was_skipped(labels: list[int]) -> None:
    scores = retrieval_scores(Labelled(cloud(len(labels), 2, 0), np.array(labels, np.int64)))
    assert set(scores) == set(METRICS)
    assert all(score == Score(None, None, 0, len(labels)) for score in scores.values())


def test_a_new_metric_is_one_function_in_the_table() -> None:
    scores = summarise([one(0, 1, 1), one(1, 0, 0)], {"r": lambda ranking: ranking.num_relevant.astype(float)})
    assert scores["r"].mean == 1.5
