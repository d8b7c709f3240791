"""The table and the picture of a partition."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmetric.data.base import ImageSet
from fedmetric.data.preview import class_counts, client_names, heat_map, partition_table

MakeSet = Callable[..., ImageSet]


def parts(*members: list[int]) -> list[np.ndarray]:
    return [np.asarray(own, dtype=np.int64) for own in members]


def test_rows_count_images_and_classes_and_flag_small_clients(make_set: MakeSet) -> None:
    rows = partition_table(make_set([0, 0, 1, 2, -1], 3), parts([0, 1, 2], [3, 4]), batch_size=3)
    assert [(row.client, row.name, row.images, row.classes, row.below_batch) for row in rows] == [
        (0, "client 0", 3, 2, False),
        (1, "client 1", 2, 1, True),
    ]


def test_clients_are_named_after_the_grouping_they_follow(make_set: MakeSet) -> None:
    images = make_set([0] * 4, 1, alphabet=[0, 0, 0, 0], writer=[1, 0, 1, 0])
    assert client_names(images, parts([1, 3], [0, 2])) == ["writer 0", "writer 1"]


@pytest.mark.parametrize("members", [([0, 1], [2, 3]), ([1], [3], [0, 2]), ([1, 3], [0, 2], [])])
def test_clients_that_hold_no_whole_single_group_are_numbered(
    members: tuple[list[int], ...], make_set: MakeSet
) -> None:
    images = make_set([0] * 4, 1, writer=[1, 0, 1, 0])
    assert client_names(images, parts(*members)) == [f"client {i}" for i in range(len(members))]


def test_counts_equal_the_obvious_loop_and_leave_out_absent_classes(make_set: MakeSet) -> None:
    names, counts = class_counts(make_set([0, 0, 2, -1], 4), parts([0, 2], [1, 3]))
    assert names == ["class 0", "class 2", "no label"]
    assert counts.tolist() == [[1, 1, 0], [1, 0, 1]]


@pytest.mark.parametrize(("clients", "classes"), [(1, 1), (4, 12), (600, 964)])
def test_the_picture_is_drawn_at_any_size(clients: int, classes: int, tmp_path: Path, make_set: MakeSet) -> None:
    count = 2 * max(clients, classes)
    images = make_set([i % classes for i in range(count)], classes)
    heat_map(images, list(np.array_split(np.arange(count), clients)), tmp_path / "map.png")
    with Image.open(tmp_path / "map.png") as picture:
        assert 200 < picture.width < 2500
        assert 200 < picture.height < 2000
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_names_that_look_like_mathematics_are_drawn_as_they_are(tmp_path: Path) -> None:
    images = ImageSet("money", np.zeros((2, 4, 4, 1), np.uint8), np.array([0, 1]), ("sign/$", "a$_{$" + 40 * "b"))
    heat_map(images, parts([0], [1]), tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 1000
