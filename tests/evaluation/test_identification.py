from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmetric.evaluation import identification as module
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.identification import Candidates, detection_rate, identification_scores, search
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.split import stratified_halves
from fedmetric.seeds import numpy_generator
from oracles import identification as oracle
from oracles.geometry import circle, cloud, clusters, tied_points
from oracles.retrieval import cosine, negative_distance

NAMES = {"cmc@1", "cmc@5", "cmc@10", "dir@far1%", "dir@far10%"}


def test_classes_are_ranked_by_their_nearest_enrolled_image() -> None:
    """Enrolled: 7 at 0 and 90 degrees, 3 at 20, 5 at 200.

    A probe of 7 at 12 is 8 from class 3 and 12 from its own: rank 2. One at 80 is 10 from its own: 1. One of 5 at 100
    is 10 from class 7, 80 from 3 and 100 from its own: 3. A probe of class 9, which is not enrolled, has no rank.
    """
    enrolled = Labelled(circle(0, 90, 20, 200), np.array([7, 7, 3, 5]))
    found = search(Labelled(circle(12, 80, 100, 60), np.array([7, 7, 5, 9])), enrolled)
    assert found.rank.tolist() == [2, 1, 3, 0]
    assert found.nearest == pytest.approx(np.cos(np.radians([8, 10, 10, 30])), abs=1e-6)


def test_the_threshold_is_passed_by_as_many_non_mated_probes_as_allowed() -> None:
    """Alarms 0.9 ... 0.0: at FAR 10 % one of the ten passes, so the threshold is the second, 0.8, itself not passed.

    Of the mated probes, 0.85 at rank 1 passes; 0.8 does not, and 0.95 at rank 2 is the wrong class: 1/3.
    """
    found = Candidates(np.array([1, 1, 2]), np.array([0.85, 0.8, 0.95]))
    alarms = np.arange(9, -1, -1) / 10
    assert detection_rate(found, alarms, 0.1) == pytest.approx(1 / 3)
    assert detection_rate(found, alarms, 0.2) == pytest.approx(2 / 3)
    assert detection_rate(found, alarms, 1.0) == pytest.approx(2 / 3)
    assert detection_rate(found, alarms, 0.09) is None


@pytest.mark.parametrize("make", [cloud, tied_points])
@pytest.mark.parametrize("num_classes", [3, 8, 30])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_scores_are_those_of_sorted_classes_and_all_thresholds(make, num_classes: int, distance) -> None:
    points, labels = make(60, 4, 3), np.random.default_rng(6).integers(0, num_classes, 60) * 2**25
    scores = identification_scores(Labelled(points, labels), seed=1, distance=distance)
    near, rows, ids = cosine if distance == "cosine" else negative_distance, points.tolist(), labels.tolist()
    split = stratified_halves(labels, 1)
    train, test = split.train.tolist(), split.test.tolist()
    classes = sorted({ids[i] for i in train})

    def found(probe: int, enrolled: list[int]) -> dict[int, float]:
        return oracle.candidates(rows[probe], [rows[i] for i in enrolled], [ids[i] for i in enrolled], near)

    ranks = [oracle.rank_of(ids[probe], found(probe, train)) for probe in test]
    for k in (1, 5, 10):
        score = scores[f"cmc@{k}"]
        if k >= len(classes):
            assert score == Score(None, None, 0, 60)
        else:
            assert score.mean == pytest.approx(sum(rank <= k for rank in ranks) / len(ranks), abs=1e-6)
            assert (score.n, score.skipped) == (len(test), 60 - len(test) - len(train))

    known = set(numpy_generator(1, "enrolled classes").permutation(np.array(classes))[: (len(classes) + 1) // 2])
    enrolled = [i for i in train if ids[i] in known]
    mated = [(i, found(i, enrolled)) for i in test if ids[i] in known]
    alarms = [max(found(i, enrolled).values()) for i in [*train, *test] if ids[i] not in known]
    ranked = [(oracle.rank_of(ids[i], candidates), max(candidates.values())) for i, candidates in mated]
    for name, rate in (("dir@far1%", 0.01), ("dir@far10%", 0.1)):
        assert scores[name].mean == pytest.approx(oracle.detection_rate(ranked, alarms, rate), abs=1e-6)
        assert scores[name].n == (len(mated) if scores[name].mean is not None else 0)


def test_separated_clusters_are_always_identified() -> None:
    scores = identification_scores(Labelled(*clusters(24, 10, 16, 0, spread=1e-3)), seed=1)
    assert set(scores) == NAMES
    assert all(score.mean == 1 for score in scores.values())


def test_a_collapsed_encoder_identifies_nobody() -> None:
    """Every class is as near as the right one, which stands behind the others: rank 12 of 12."""
    scores = identification_scores(Labelled(torch.ones(240, 3), np.repeat(np.arange(12), 20)), seed=1)
    assert all(score.mean == 0 for score in scores.values())


def test_embeddings_that_know_nothing_are_at_chance() -> None:
    scores = identification_scores(Labelled(cloud(4000, 16, 0), np.repeat(np.arange(20), 200)), seed=1)
    for k in (1, 5, 10):
        score = scores[f"cmc@{k}"]
        assert score.mean is not None
        assert abs(score.mean - k / 20) < 0.03


@pytest.mark.parametrize("labels", [[], [4], [4, 4, 4], [1, 2, 3], [1, 1, 2, 3]])
def test_fewer_than_two_classes_of_two_images_are_null(labels: list[int]) -> None:
    scores = identification_scores(Labelled(cloud(len(labels), 2, 0), np.array(labels, np.int64)), seed=1)
    assert set(scores) == NAMES
    assert all(score == Score(None, None, 0, len(labels)) for score in scores.values())


def test_classes_of_one_image_are_skipped_and_counted() -> None:
    points, labels = clusters(12, 4, 8, 0, spread=0.1)
    lonely = Labelled(torch.cat([points, cloud(3, 8, 5)]), np.concatenate([labels, [90, 91, 92]]))
    assert identification_scores(lonely, seed=1)["cmc@1"].skipped == 3


def test_the_size_of_a_block_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = Labelled(*clusters(20, 6, 4, 0, spread=1.0))
    whole = identification_scores(images, seed=1)
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 60 * 7)
    assert identification_scores(images, seed=1) == whole
