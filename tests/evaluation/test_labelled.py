from __future__ import annotations

import numpy as np
import pytest

from fedmetric.errors import DataError
from fedmetric.evaluation.labelled import Labelled, label_ids
from oracles.geometry import cloud


def test_any_hashable_label_is_numbered_in_order_of_appearance() -> None:
    ids = label_ids(["b", ("x", 1), "b", None, 2**70, ("x", 1)])
    assert ids.tolist() == [0, 1, 0, 2, 3, 1]
    assert ids.dtype == np.int64


def test_labels_beyond_the_precision_of_float32_stay_apart() -> None:
    assert len(set(label_ids([2**24, 2**24 + 1]).tolist())) == 2
    kept = Labelled(cloud(2, 3, 0), np.array([2**53, 2**53 + 1]))
    assert kept.labels[1] - kept.labels[0] == 1


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.uint64])
def test_every_integer_type_becomes_int64(dtype: type) -> None:
    assert Labelled(cloud(3, 2, 0), np.array([7, 3, 5], dtype)).labels.dtype == np.int64


@pytest.mark.parametrize(
    "labels", [np.zeros(3), np.zeros(2, np.int64), np.zeros((3, 1), np.int64), np.array(list("abc"))]
)
def test_labels_that_are_not_one_integer_per_row_are_refused(labels: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"labels must be \(3,\) integers.*label_ids"):
        Labelled(cloud(3, 2, 0), labels)


def test_unlabelled_rows_are_refused() -> None:
    with pytest.raises(DataError, match=r"unlabelled rows \(-1\)"):
        Labelled(cloud(3, 2, 0), np.array([0, -1, 0]))


def test_ids_that_would_wrap_around_are_refused() -> None:
    with pytest.raises(DataError, match=r"0\.\.2\^63-1"):
        Labelled(cloud(1, 2, 0), np.array([2**63], np.uint64))


def test_rows_without_direction_are_refused() -> None:
    with pytest.raises(DataError, match="3 with only zeros"):
        Labelled(cloud(3, 2, 0) * 0, np.zeros(3, np.int64))


def test_class_sizes_count_the_row_itself() -> None:
    assert Labelled(cloud(6, 2, 0), np.array([7, 3, 7, 5, 3, 7])).class_sizes().tolist() == [3, 2, 3, 1, 2, 3]


def test_a_subset_keeps_rows_and_labels_together() -> None:
    whole = Labelled(cloud(5, 2, 0), np.array([4, 3, 2, 1, 0]))
    part = whole.subset(np.array([3, 0]))
    assert part.labels.tolist() == [1, 4]
    assert np.array_equal(part.embeddings.numpy(), whole.embeddings.numpy()[[3, 0]])


def test_nothing_at_all_is_accepted() -> None:
    assert len(Labelled(cloud(0, 0, 0), np.zeros(0, np.int64))) == 0
