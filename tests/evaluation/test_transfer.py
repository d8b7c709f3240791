from __future__ import annotations

import warnings

import numpy as np
import pytest

from fedmetric.evaluation.base import Score
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.transfer import classification_scores, transfer_scores
from oracles.geometry import cloud, clusters
from oracles.transfer import macro

NAMES = {
    f"{kind}_{name}" for kind in ("knn", "prototype", "linear") for name in ("accuracy", "precision", "recall", "f1")
}


def test_macro_averages_of_a_small_table() -> None:
    """Two of four predictions are right.

    Class 7 (two images) is claimed once, rightly: P 1, R 1/2, F1 2/3. Class 3 (one image) is claimed twice,
    once rightly: P 1/2, R 1, F1 2/3. Class 5 (one image) is never predicted: 0.
    """
    scores = classification_scores(np.array([7, 3, 3, 8]), np.array([7, 7, 3, 5]), "knn", skipped=4)
    assert scores["knn_accuracy"].mean == 0.5
    assert scores["knn_precision"].mean == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert scores["knn_recall"].mean == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert scores["knn_f1"].mean == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert (scores["knn_accuracy"].n, scores["knn_f1"].n, scores["knn_f1"].skipped) == (4, 3, 4)


@pytest.mark.parametrize("seed", range(5))
def test_macro_averages_are_those_of_one_class_at_a_time(seed: int) -> None:
    draw = np.random.default_rng(seed)
    true, predicted = draw.integers(0, 6, 40) * 2**30, draw.integers(0, 7, 40) * 2**30
    scores = classification_scores(predicted, true, "x")
    for name, value in macro(predicted.tolist(), true.tolist()).items():
        assert scores[f"x_{name}"].mean == pytest.approx(value, abs=1e-12)


def test_separated_clusters_score_one_with_every_classifier() -> None:
    points, labels = clusters(6, 8, 10, 0, spread=0.01)
    scores = transfer_scores(Labelled(points, labels), seed=1, neighbours=3)
    assert set(scores) == NAMES
    assert all(score.mean == 1 for score in scores.values())
    assert scores["knn_accuracy"].n == 24


def test_embeddings_that_know_nothing_score_near_chance() -> None:
    scores = transfer_scores(Labelled(cloud(1000, 4, 0), np.repeat(np.arange(5), 200)), seed=1)
    for name in ("knn_accuracy", "prototype_accuracy", "linear_accuracy"):
        mean = scores[name].mean
        assert mean is not None
        assert 0.12 < mean < 0.28


def test_classes_of_one_image_are_skipped_and_counted() -> None:
    points, labels = clusters(6, 8, 10, 0, spread=0.01)
    lonely = Labelled(points, np.where(np.arange(48) < 2, [100 + i for i in range(48)], labels))
    assert all(score.skipped == 2 for score in transfer_scores(lonely, seed=1).values())


@pytest.mark.parametrize("labels", [[], [1], [1, 1, 1, 1], [1, 2, 3], [1, 1, 2]])
def test_fewer_than_two_classes_to_tell_apart_are_null(labels: list[int]) -> None:
    data = Labelled(cloud(len(labels), 3, 0), np.array(labels, np.int64))
    scores = transfer_scores(data, seed=1)
    assert set(scores) == NAMES
    assert all(score == Score(None, None, 0, len(labels)) for score in scores.values())


def test_the_stop_of_the_solver_is_not_reported_as_a_warning() -> None:
    points, labels = clusters(20, 4, 30, 0, spread=5.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        transfer_scores(Labelled(points, labels), seed=1)
