"""Every task takes the distance that a network was trained for: the oracles compare by the distance itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmetric.distances.base import PairDistance
from fedmetric.evaluation.clustering import k_means
from fedmetric.evaluation.identification import search
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.pairs import draw_pairs, pair_similarities
from fedmetric.evaluation.reciprocal import k_reciprocal
from fedmetric.evaluation.reranking import RERANKERS, reranked_scores
from fedmetric.evaluation.roc import area_under, equal_error_rate, roc
from fedmetric.evaluation.verification import verification_scores
from fedmetric.registry import distances
from oracles import verification as oracle
from oracles.geometry import cloud, clusters
from oracles.identification import candidates, rank_of
from oracles.reranking import k_reciprocal_distances
from trained_distance import NAMES, trained


def nearness_by(distance: PairDistance):
    def near(a: list[float], b: list[float]) -> float:
        with torch.no_grad():
            return -float(distance.between(torch.tensor([a]).double(), torch.tensor([b]).double()))

    return near


@pytest.mark.parametrize("name", NAMES)
def test_verification_orders_pairs_by_the_distance(name: str) -> None:
    points, labels = cloud(40, 5, 3), np.random.default_rng(4).integers(0, 9, 40)
    distance = trained(name, 5)
    scores = verification_scores(Labelled(points, labels), seed=1, distance=distance)
    listed = oracle.all_pairs(points.tolist(), labels.tolist(), nearness_by(distance))
    pairs = [(similarity, genuine) for _, _, similarity, genuine in listed]
    assert scores["verification_auc"].mean == pytest.approx(oracle.auc(pairs), abs=1e-6)
    assert scores["verification_eer"].mean == pytest.approx(oracle.eer(pairs), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_both_directions_of_a_pair_are_alike(name: str) -> None:
    points, labels = cloud(30, 5, 3), np.random.default_rng(4).integers(0, 9, 30)
    pairs, images, distance = draw_pairs(labels, seed=1), Labelled(points, labels), trained(name, 5)
    turned = type(pairs)(pairs.second, pairs.first, pairs.genuine)
    one, other = (pair_similarities(images, both, distance) for both in (pairs, turned))
    assert np.allclose(one, other, atol=1e-7)
    for figure in (area_under, equal_error_rate):
        assert figure(roc(one, pairs.genuine)) == pytest.approx(figure(roc(other, pairs.genuine)), abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_identification_ranks_classes_by_the_distance(name: str) -> None:
    points, labels, distance = cloud(40, 5, 3), np.repeat(np.arange(8), 5), trained(name, 5)
    gallery = np.arange(40) % 5 < 3
    enrolled = Labelled(points[torch.from_numpy(gallery)], labels[gallery])
    probes = Labelled(points[torch.from_numpy(~gallery)], labels[~gallery])
    rows, ids, near = enrolled.embeddings.tolist(), enrolled.labels.tolist(), nearness_by(distance)
    expected = [
        rank_of(int(label), candidates(probe, rows, ids, near))
        for probe, label in zip(probes.embeddings.tolist(), probes.labels, strict=True)
    ]
    assert search(probes, enrolled, distance).rank.tolist() == expected


@pytest.mark.parametrize("name", ["pair-mlp", "cosine"])
def test_k_reciprocal_distances_are_those_of_the_equations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The d of the paper is half the squared distance, and 1 - cosine itself where a network was trained for it."""
    points, distance = cloud(25, 5, 4), trained(name, 5)
    near = nearness_by(distance)
    halves = [[near(a, b) ** 2 / 2 for b in points.tolist()] for a in points.tolist()]
    if name == "cosine":  # this distance is 1 - cosine, of which no square is taken
        halves = [[-near(a, b) for b in points.tolist()] for a in points.tolist()]
    monkeypatch.setattr("oracles.reranking.half_squared", lambda points, near: halves)
    expected = k_reciprocal_distances(points.tolist(), near, 6, 3, 0.3)
    blocks = list(k_reciprocal(Labelled(points, np.zeros(25, np.int64)), distance, k1=6, k2=3))
    assert np.allclose(-torch.cat([block for _, block in blocks]).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", RERANKERS)
def test_re_ranking_helps_by_every_distance(name: str, method: str) -> None:
    images = Labelled(*clusters(10, 20, 16, 0, spread=1.2))
    distance = distances.build(distances[name].options(), 16)  # untrained, so classes are still clusters
    plain, better = (reranked_scores(images, method, by)["map@r_reranked"].mean for by in ("cosine", distance))
    assert better == pytest.approx(plain, abs=0.02)


def test_k_means_works_where_a_learned_map_leads() -> None:
    """The map keeps the first coordinate alone, in which the two halves are far apart."""
    points = 3 * cloud(60, 4, 1)
    points[:, 0] = torch.where(torch.arange(60) < 30, -1.0, 1.0)
    images, half = Labelled(torch.nn.functional.normalize(points), np.zeros(60, np.int64)), np.arange(60) < 30
    distance = distances.build(distances["mahalanobis"].options(rank=1), 4)
    for weight in distance.parameters():
        weight.data = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    found = k_means(images, 2, 1, distance)
    agreement = max(np.mean((found == 0) == half), np.mean((found == 1) == half))
    by_cosine = k_means(images, 2, 1)
    assert agreement > 0.9 > max(np.mean((by_cosine == 0) == half), np.mean((by_cosine == 1) == half))
