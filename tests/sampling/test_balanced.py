"""P x K batches, also where a client has few classes or classes of one image."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from fedmetric.sampling.balanced import Balanced


def batches_of(labels: np.ndarray, size: int, per_class: int = 4, seed: int = 1) -> list[np.ndarray]:
    return list(Balanced(per_class=per_class).epoch(labels, size, np.random.default_rng(seed)))


@pytest.mark.parametrize(("per_class", "size"), [(1, 8), (2, 8), (4, 8), (8, 8), (4, 32)])
def test_a_batch_has_k_images_of_each_of_p_classes(per_class: int, size: int) -> None:
    labels = np.repeat(np.arange(10), 9)
    for batch in batches_of(labels, size, per_class):
        counts = Counter(labels[batch].tolist())
        assert set(counts.values()) == {per_class}
        assert len(counts) == size // per_class


def test_rare_classes_come_as_often_as_frequent_ones() -> None:
    labels = np.repeat(np.arange(4), [100, 50, 10, 4])
    seen = Counter(labels[np.concatenate(batches_of(labels, 8))].tolist())
    assert max(seen.values()) - min(seen.values()) <= 4
    assert set(seen) == {0, 1, 2, 3}


def test_the_images_of_a_class_come_in_turn() -> None:
    labels = np.repeat(np.arange(4), 8)
    drawn = np.concatenate(batches_of(labels, 8))
    assert sorted(drawn.tolist()) == list(range(32))


def test_a_class_of_one_image_gives_it_and_others_fill_the_batch() -> None:
    labels = np.concatenate([np.arange(5), np.repeat([5, 6], 8)])
    for batch in batches_of(labels, 9):
        counts = Counter(labels[batch].tolist())
        assert all(counts[label] <= 1 for label in range(5))
        assert counts[5] + counts[6] + sum(counts[label] for label in range(5)) == 9
        assert len(set(batch.tolist())) == 9


def test_two_classes_fill_a_batch_that_is_larger_than_both_their_shares() -> None:
    labels = np.repeat([0, 1], 16)
    for batch in batches_of(labels, 16):
        assert Counter(labels[batch].tolist()) == {0: 8, 1: 8}


def test_images_without_a_label_keep_their_share() -> None:
    labels = np.concatenate([np.full(60, -1), np.repeat(np.arange(5), 8)])
    found = [int((labels[batch] == -1).sum()) for batch in batches_of(labels, 10)]
    assert found == [6] * 10
    assert len(np.unique(np.concatenate([batch[labels[batch] == -1] for batch in batches_of(labels, 10)]))) == 60


def test_a_share_that_is_no_whole_number_holds_over_the_epoch() -> None:
    labels = np.concatenate([np.full(5, -1), np.repeat(np.arange(4), 4)])
    found = [int((labels[batch] == -1).sum()) for batch in batches_of(labels, 3)]
    assert len(found) == 7
    assert sum(found) == 5
