from __future__ import annotations

import numpy as np

from fedmetric.evaluation.split import stratified_halves

LABELS = np.random.default_rng(0).permutation(np.repeat([7, 3, 5, 2**40, 9], [10, 7, 2, 1, 1]))


def test_each_class_is_halved_and_an_odd_one_trains_on_more() -> None:
    split = stratified_halves(LABELS, seed=1)
    sizes = {
        label: (int((LABELS[split.train] == label).sum()), int((LABELS[split.test] == label).sum()))
        for label in (7, 3, 5)
    }
    assert sizes == {7: (5, 5), 3: (4, 3), 5: (1, 1)}


def test_no_image_is_on_both_sides_and_single_images_are_counted() -> None:
    split = stratified_halves(LABELS, seed=1)
    rows = np.concatenate([split.train, split.test])
    assert len(np.unique(rows)) == len(rows) == 19
    assert split.skipped == 2
    assert not np.isin(LABELS[rows], [2**40, 9]).any()


def test_rows_stay_in_order() -> None:
    split = stratified_halves(LABELS, seed=1)
    assert (np.diff(split.train) > 0).all()
    assert (np.diff(split.test) > 0).all()


def test_the_seed_alone_decides() -> None:
    first, again, other = (stratified_halves(LABELS, seed).train.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_no_images_split_into_nothing() -> None:
    split = stratified_halves(np.zeros(0, np.int64), seed=1)
    assert (len(split.train), len(split.test), split.skipped) == (0, 0, 0)
