from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.neighbours import weighted_neighbours
from oracles.geometry import circle, cloud, clusters, tied_points
from oracles.transfer import neighbour_vote


@pytest.mark.parametrize("k", [1, 5, 200])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
def test_votes_are_those_of_one_image_at_a_time(k: int, temperature: float) -> None:
    points, labels = clusters(6, 10, 5, 0, spread=1.5)
    asked = cloud(25, 5, 7)
    got = weighted_neighbours(Labelled(points, labels), asked, k=k, temperature=temperature)
    expected = [neighbour_vote(points.tolist(), labels.tolist(), row, k, temperature) for row in asked.tolist()]
    assert got.tolist() == expected


def test_the_temperature_decides_between_the_nearest_and_the_many() -> None:
    """From 0 degrees: class 7 at 5 (cosine 0.996), class 3 at 20, 25, 30 (0.940, 0.906, 0.866).

    At T = 0.01 the one counts exp(99.6) against exp(94.0) at most; at T = 1, 2.71 against 2.56 + 2.47 + 2.38.
    """
    train = Labelled(circle(5, 20, 25, 30), np.array([7, 3, 3, 3]))
    assert weighted_neighbours(train, circle(0), temperature=0.01).tolist() == [7]
    assert weighted_neighbours(train, circle(0), temperature=1.0).tolist() == [3]
    assert weighted_neighbours(train, circle(0), k=1, temperature=1.0).tolist() == [7]


def test_k_beyond_the_training_images_means_all_of_them() -> None:
    train = Labelled(cloud(9, 4, 0), np.repeat([0, 1, 2], 3))
    asked = cloud(12, 4, 1)
    assert np.array_equal(weighted_neighbours(train, asked, k=9), weighted_neighbours(train, asked, k=200))


def test_images_tied_for_the_last_place_share_it() -> None:
    """K = 2 and three images equally near, two of class 1: it has 4/3 of a vote against 2/3, in any order."""
    train = Labelled(circle(10, 10, 10), np.array([1, 0, 1]))
    for order in ([0, 1, 2], [1, 0, 2], [0, 2, 1]):
        assert weighted_neighbours(train.subset(np.array(order)), circle(0), k=2).tolist() == [1]


def test_a_shared_place_counts_once() -> None:
    """With k = 2, class 2 at 10 degrees has weight 1 and two of class 1 tie at 20 for the other place.

    At T = 1 a place at 20 degrees is worth exp(cos 20 - cos 10) = 0.956, so class 1 loses; two places would win.
    """
    train = Labelled(circle(10, 20, 20), np.array([2, 1, 1]))
    assert weighted_neighbours(train, circle(0), k=2, temperature=1.0).tolist() == [2]
    assert weighted_neighbours(train, circle(0), k=3, temperature=1.0).tolist() == [1]


def test_the_order_of_the_rows_changes_nothing_even_among_ties() -> None:
    points, labels = tied_points(120, 6, 0), np.random.default_rng(1).integers(0, 5, 120)
    order = np.random.default_rng(2).permutation(120)
    asked = tied_points(40, 6, 3)
    straight = weighted_neighbours(Labelled(points, labels), asked, k=7)
    assert np.array_equal(weighted_neighbours(Labelled(points, labels).subset(order), asked, k=7), straight)


def test_the_size_of_a_block_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    train, asked = Labelled(tied_points(120, 6, 0), np.arange(120) % 5), tied_points(40, 6, 3)
    whole = weighted_neighbours(train, asked, k=7)
    monkeypatch.setattr("fedmetric.evaluation.neighbours.BLOCK_BYTES", 8 * 120 * 3)
    assert np.array_equal(weighted_neighbours(train, asked, k=7), whole)


def test_a_very_low_temperature_does_not_underflow() -> None:
    train = Labelled(circle(80, 90), np.array([4, 2]))
    assert weighted_neighbours(train, circle(0), temperature=1e-5).tolist() == [4]


def test_large_ids_come_back_unchanged() -> None:
    train = Labelled(circle(0, 90), np.array([2**53 + 1, 2**24 + 1]))
    assert weighted_neighbours(train, circle(1, 89)).tolist() == [2**53 + 1, 2**24 + 1]


def test_nothing_asked_gives_no_answer() -> None:
    assert weighted_neighbours(Labelled(circle(0), np.array([1])), torch.empty(0, 2)).shape == (0,)
