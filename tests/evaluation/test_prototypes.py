from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmetric.evaluation import prototypes as module
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.prototypes import nearest_prototype
from oracles.geometry import circle, cloud, clusters, tied_points
from oracles.transfer import prototype_vote


def test_queries_on_a_circle_go_to_the_nearest_mean() -> None:
    """Prototypes at 10 and 90 degrees: the border is at 50."""
    train = Labelled(circle(0, 20, 80, 100), np.array([7, 7, 3, 3]))
    assert nearest_prototype(train, circle(49, 51, 10, 200)).tolist() == [7, 3, 7, 3]


def test_equally_near_prototypes_give_way_to_the_lowest_id() -> None:
    train = Labelled(torch.tensor([[1.0, 0], [0, 1]]), np.array([7, 3]))
    assert nearest_prototype(train, torch.tensor([[1.0, 1]])).tolist() == [3]


def test_a_class_that_cancels_out_is_as_far_as_a_right_angle() -> None:
    """Class 3 is two opposite images; class 7 at 0 degrees is nearer to 80 and farther from 100."""
    train = Labelled(torch.tensor([[0.0, 2], [0, -2], [1, 0]]), np.array([3, 3, 7]))
    assert nearest_prototype(train, circle(80, 100)).tolist() == [7, 3]
    assert nearest_prototype(train.subset(np.array([0, 1])), circle(80)).tolist() == [3]


@pytest.mark.parametrize("make", [cloud, tied_points])
def test_predictions_are_those_of_one_query_at_a_time(make, monkeypatch: pytest.MonkeyPatch) -> None:
    points, labels = make(60, 5, 1), np.random.default_rng(0).integers(0, 7, 60) * 2**25
    train = Labelled(points[:40], labels[:40])
    found = nearest_prototype(train, points[40:])
    expected = [prototype_vote(points[:40].tolist(), labels[:40].tolist(), query) for query in points[40:].tolist()]
    assert found.tolist() == expected
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 7 * 3)
    assert nearest_prototype(train, points[40:]).tolist() == expected


def test_the_order_of_the_training_images_does_not_matter() -> None:
    points, labels = clusters(9, 6, 5, 1, spread=2.0)
    turned = np.random.default_rng(0).permutation(54)
    asked = cloud(500, 5, 3)
    whole = Labelled(points, labels)
    assert np.array_equal(nearest_prototype(whole, asked), nearest_prototype(whole.subset(turned), asked))
