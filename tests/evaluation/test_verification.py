from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmetric.evaluation.base import Score
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.verification import folds_of, verification_scores
from oracles import verification as oracle
from oracles.geometry import circle, cloud, clusters, tied_points
from oracles.retrieval import cosine, negative_distance

NAMES = {f"verification_{name}" for name in ("auc", "eer", "tar@1%", "tar@0.1%", "accuracy")}


def test_two_classes_on_a_circle_as_derived_by_hand() -> None:
    """Class 7 at 0 and 10 degrees, class 3 at 15 and 60: genuine pairs 10 and 45 apart, impostors 5, 15, 50 and 60.

    Of 8 couples the genuine pair is nearer in 3 + 2 = 5. False rejects are 1, 1/2 and 0 at FAR 1/4 (5), 1/4 (10) and
    2/4 (45), so half are rejected from FAR 1/4 to 2/4: EER 1/2. Four impostors are too few for a FAR of 1 %.
    """
    scores = verification_scores(Labelled(circle(0, 10, 15, 60), np.array([7, 7, 3, 3])), seed=1)
    assert set(scores) == NAMES
    assert scores["verification_auc"] == Score(pytest.approx(5 / 8), None, 6)
    assert scores["verification_eer"] == Score(pytest.approx(1 / 2), None, 6)
    assert scores["verification_tar@1%"] == Score(None, None, 0)
    assert scores["verification_accuracy"] == Score(None, None, 0, 4)


@pytest.mark.parametrize("make", [cloud, tied_points])
@pytest.mark.parametrize("num_classes", [2, 5, 14, 40])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_scores_are_those_of_all_pairs_and_all_thresholds(make, num_classes: int, distance) -> None:
    """Two classes make no folds; forty leave singletons; points with coordinates -1 and 1 repeat and tie."""
    points, labels = make(50, 4, 3), np.random.default_rng(6).integers(0, num_classes, 50) * 2**25
    rates = (0.01, 0.1)
    scores = verification_scores(Labelled(points, labels), seed=1, false_accepts=rates, distance=distance)
    listed = oracle.all_pairs(points.tolist(), labels.tolist(), cosine if distance == "cosine" else negative_distance)
    pairs = [(similarity, genuine) for _, _, similarity, genuine in listed]
    assert scores["verification_auc"].mean == pytest.approx(oracle.auc(pairs), abs=1e-6)
    assert scores["verification_eer"].mean == pytest.approx(oracle.eer(pairs), abs=1e-6)
    for rate, name in zip(rates, ("1%", "10%"), strict=True):
        assert scores[f"verification_tar@{name}"].mean == pytest.approx(oracle.tar(pairs, rate), abs=1e-6)
    assert scores["verification_auc"].n == 50 * 49 / 2
    assert scores["verification_tar@10%"].n == sum(genuine for _, genuine in pairs)
    expected = oracle.fold_accuracies(listed, folds_of(labels, seed=1).tolist())
    accuracy = scores["verification_accuracy"]
    assert accuracy.n == len(expected)
    assert accuracy.mean == (pytest.approx(np.mean(expected), abs=1e-6) if expected else None)


def test_separated_clusters_are_told_apart_without_error() -> None:
    scores = verification_scores(Labelled(*clusters(20, 6, 16, 0, spread=1e-3)), seed=1)
    assert scores["verification_eer"].mean == 0
    assert all(score.mean == 1 for name, score in scores.items() if name != "verification_eer")
    assert scores["verification_accuracy"] == Score(1.0, 0.0, 10)


def test_a_collapsed_encoder_is_a_coin() -> None:
    scores = verification_scores(Labelled(torch.ones(80, 3), np.repeat(np.arange(20), 4)), seed=1)
    figures = {name.removeprefix("verification_"): score.mean for name, score in scores.items()}
    assert figures == {"auc": 0.5, "eer": 0.5, "tar@1%": 0, "tar@0.1%": 0, "accuracy": 0.5}


@pytest.mark.parametrize("labels", [[], [4], [4, 4, 4], [1, 2, 3]])
def test_without_genuine_or_without_impostor_pairs_everything_is_null(labels: list[int]) -> None:
    scores = verification_scores(Labelled(cloud(len(labels), 2, 0), np.array(labels, np.int64)), seed=1)
    assert set(scores) == NAMES
    assert all(score == Score(None, None, 0, len(labels)) for score in scores.values())


def test_copies_of_an_image_are_genuine_pairs_at_similarity_one() -> None:
    points, labels = clusters(5, 3, 8, 0, spread=2.0)
    doubled = Labelled(torch.cat([points, points]), np.concatenate([labels, labels]))
    assert verification_scores(doubled, seed=1)["verification_tar@1%"].n == 5 * 15


def test_ids_that_float32_would_merge_stay_two_classes() -> None:
    points, labels = clusters(6, 5, 8, 0, spread=1.0)
    assert verification_scores(Labelled(points, labels + 2**24), seed=1) == verification_scores(
        Labelled(points, labels), seed=1
    )


def test_the_order_of_the_rows_does_not_matter_where_all_pairs_are_taken() -> None:
    points, labels = tied_points(60, 5, 0), np.repeat(np.arange(15), 4)
    turned = np.random.default_rng(0).permutation(60)
    whole = Labelled(points, labels)
    assert verification_scores(whole, seed=1) == verification_scores(whole.subset(turned), seed=1)


def test_a_sample_of_pairs_estimates_the_figures_of_all() -> None:
    images = Labelled(*clusters(30, 20, 8, 1, spread=1.5))
    whole, sample = (verification_scores(images, seed=1, bound=bound) for bound in (10**6, 4000))
    assert sample["verification_auc"].n == 8000
    for name in ("verification_auc", "verification_eer", "verification_accuracy"):
        assert sample[name].mean == pytest.approx(whole[name].mean, abs=0.03)


def test_folds_are_class_disjoint_and_each_can_be_measured() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(37), [1] * 12 + [2] * 15 + [5] * 10))
    folds = folds_of(labels, seed=1)
    assert len(np.unique(np.stack([labels, folds]), axis=1).T) == 37, "a class stands in two folds"
    sizes = np.bincount(labels)
    for fold in range(10):
        inside = np.unique(labels[folds == fold])
        assert len(inside) >= 2
        assert sizes[inside].max() >= 2
    assert folds.max() == 9


@pytest.mark.parametrize(("sizes", "folds"), [([3] * 4, 2), ([3] * 3, 1), ([3, 1, 1, 1], 1), ([3, 3, 1, 1], 2)])
def test_few_classes_make_fewer_folds(sizes: list[int], folds: int) -> None:
    assert folds_of(np.repeat(np.arange(len(sizes)), sizes), seed=1).max() + 1 == folds


def test_a_threshold_is_never_chosen_on_the_pairs_that_it_decides() -> None:
    """Each fold's own best threshold would be right on all its pairs; that of the others is not: below 1."""
    points, labels = clusters(8, 4, 3, 2, spread=0.5)
    score = verification_scores(Labelled(points, labels), seed=1)["verification_accuracy"]
    listed = oracle.all_pairs(points.tolist(), labels.tolist())
    folds = folds_of(labels, seed=1).tolist()
    own_best = []
    for fold in range(max(folds) + 1):
        own = [(s, g) for i, j, s, g in listed if folds[i] == folds[j] == fold]
        own_best.append(float(oracle.accuracy(own, oracle.strictest_best_threshold(own))))
    assert score.mean is not None
    assert score.mean < np.mean(own_best)
