from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from fedmetric.evaluation.base import Score
from fedmetric.evaluation.clustering import clustering_scores, k_means, purity
from fedmetric.evaluation.labelled import Labelled
from oracles import clustering as oracle
from oracles.geometry import circle, cloud, clusters, tied_points


def test_purity_counts_the_largest_class_of_each_cluster() -> None:
    """Clusters {7, 7, 3}, {3, 5} and {5}: 2 + 1 + 1 of 6."""
    assert purity(np.array([4, 4, 4, 0, 0, 9]), np.array([7, 7, 3, 3, 5, 5])) == pytest.approx(4 / 6)


@pytest.mark.parametrize("seed", range(5))
def test_measures_of_agreement_are_those_of_pairs_and_counts(seed: int) -> None:
    draw = np.random.default_rng(seed)
    found, labels = draw.integers(0, 5, 40), draw.integers(0, 7, 40) * 2**30
    assert purity(found, labels) == pytest.approx(oracle.purity(found.tolist(), labels.tolist()), abs=1e-12)
    for theirs, slow in ((normalized_mutual_info_score, oracle.nmi), (adjusted_rand_score, oracle.ari)):
        assert theirs(labels, found) == pytest.approx(slow(found.tolist(), labels.tolist()), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_the_clusters_found(seed: int) -> None:
    points, labels = clusters(6, 9, 4, seed, spread=1.0)
    found = k_means(Labelled(points, labels), 6, seed=1).tolist()
    scores = clustering_scores(Labelled(points, labels * 2**25), seed=1)
    assert scores["nmi"].mean == pytest.approx(oracle.nmi(found, labels.tolist()), abs=1e-6)
    assert scores["ari"].mean == pytest.approx(oracle.ari(found, labels.tolist()), abs=1e-6)
    assert scores["purity"].mean == pytest.approx(oracle.purity(found, labels.tolist()), abs=1e-6)
    assert all((score.n, score.ci95, score.skipped) == (54, None, 0) for score in scores.values())


def test_three_arcs_of_a_circle_are_three_clusters() -> None:
    found = k_means(Labelled(circle(0, 3, 5, 120, 122, 240), np.arange(6)), 3, seed=1)
    groups = {frozenset(np.flatnonzero(found == cluster).tolist()) for cluster in found}
    assert groups == {frozenset({0, 1, 2}), frozenset({3, 4}), frozenset({5})}


def test_lengths_count_for_euclidean_clusters_only() -> None:
    """Two directions at lengths 1 and 100: clusters are the directions by cosine, the lengths by distance."""
    points = torch.cat([circle(0, 40), 100 * circle(0, 40)])
    by_cosine = k_means(Labelled(points, np.arange(4)), 2, 1)
    by_distance = k_means(Labelled(points, np.arange(4)), 2, 1, "euclidean")
    assert by_cosine[0] == by_cosine[2] != by_cosine[1]
    assert by_distance[0] == by_distance[1] != by_distance[2]


def test_separated_clusters_score_one_and_chance_scores_zero_where_adjusted() -> None:
    perfect = clustering_scores(Labelled(*clusters(6, 20, 16, 0, spread=1e-3)), seed=1)
    assert all(score.mean == pytest.approx(1) for score in perfect.values())
    chance = clustering_scores(Labelled(cloud(600, 8, 0), np.repeat(np.arange(6), 100)), seed=1)
    assert abs(chance["ari"].mean or 0) < 0.02
    assert abs(chance["ami"].mean or 0) < 0.02


@pytest.mark.parametrize("make", [cloud, tied_points])
def test_neither_the_order_of_the_rows_nor_the_names_of_classes_matter(make) -> None:
    images = Labelled(make(90, 4, 0), np.random.default_rng(1).integers(0, 9, 90))
    whole = clustering_scores(images, seed=1)
    turned = images.subset(np.random.default_rng(0).permutation(90))
    renamed = Labelled(turned.embeddings, 2**40 + 3 * turned.labels)
    for name, score in clustering_scores(renamed, seed=1).items():
        assert score.mean == pytest.approx(whole[name].mean, abs=1e-12), name


def test_a_collapsed_encoder_is_one_cluster_and_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = clustering_scores(Labelled(torch.ones(20, 3), np.repeat(np.arange(5), 4)), seed=1)
    assert {name: score.mean for name, score in scores.items()} == pytest.approx(
        {"nmi": 0, "ami": 0, "ari": 0, "purity": 0.2}, abs=1e-12
    )


@pytest.mark.parametrize("labels", [[], [4], [4, 4, 4], [1, 2, 3]])
def test_one_class_or_only_classes_of_one_image_are_null(labels: list[int]) -> None:
    scores = clustering_scores(Labelled(cloud(len(labels), 2, 0), np.array(labels, np.int64)), seed=1)
    assert set(scores) == {"nmi", "ami", "ari", "purity"}
    assert all(score == Score(None, None, 0, len(labels)) for score in scores.values())
