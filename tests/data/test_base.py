"""Image sets, and classes that must not be both trained on and evaluated."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedmetric.data.base import Dataset, ImageSet, check_disjoint, check_unseen, class_hash
from fedmetric.errors import DataError

MakeSet = Callable[..., ImageSet]
PIXELS = np.zeros((2, 4, 4, 1), dtype=np.uint8)


def test_images_of_another_type_are_refused() -> None:
    with pytest.raises(DataError, match=r"images must be \(N, H, W, C\) uint8"):
        ImageSet("set", PIXELS.astype(np.float32), np.zeros(2, np.int64), ("a",))  # type: ignore[arg-type]


def test_labels_must_match_the_images_and_the_classes() -> None:
    with pytest.raises(DataError, match=r"labels must be \(2,\) int64"):
        ImageSet("set", PIXELS, np.zeros(3, np.int64), ("a",))
    with pytest.raises(DataError, match=r"labels must lie in -1\.\.0"):
        ImageSet("set", PIXELS, np.array([0, 1]), ("a",))


def test_a_subset_keeps_class_indices_and_groups(make_set: MakeSet) -> None:
    part = make_set([0, 1, 2], 3, group=[0, 1, 1]).subset(np.array([2, 0]))
    assert part.labels.tolist() == [2, 0]
    assert part.classes == ("class 0", "class 1", "class 2")
    assert part.present_classes() == ("class 0", "class 2")
    assert part.groupings["group"].codes.tolist() == [1, 0]


def test_a_dataset_whose_held_out_classes_are_trained_on_is_refused(make_set: MakeSet) -> None:
    with pytest.raises(DataError, match="1 held-out classes are also trained on: class 1"):
        Dataset(make_set([0, 1], 2), make_set([1, 1], 2))


def test_long_overlaps_are_cut_short() -> None:
    with pytest.raises(DataError, match=r"7 held-out classes .*: a, b, c, d, e, \.\.\.; held-out"):
        check_disjoint("abcdefg", "abcdefg", "set")


def test_a_checkpoint_knows_its_classes_by_their_hashes() -> None:
    known = [class_hash("cat"), class_hash("dog")]
    check_unseen(known, ["bird"], "set")
    with pytest.raises(DataError, match="trained on 1 of the evaluated classes: dog"):
        check_unseen(known, ["bird", "dog", "dog"], "set")


def test_class_hashes_are_sixteen_hex_digits() -> None:
    assert len(class_hash("Б")) == 16
    assert int(class_hash("Б"), 16) >= 0
