"""The cache of decoded images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmetric.data import cache
from fedmetric.data.base import Allocate, Dataset, Grouping, ImageSet, Skipped, Source
from fedmetric.data.cache import cache_root, data_root, load_dataset
from fedmetric.errors import DataError
from fedmetric.registry import Component, sources


class Counted(Source):
    """A source that counts its reads."""

    reads = 0
    version = "1"
    broken = False

    def key(self) -> str:
        return type(self).version

    def read(self, image_size: int, allocate: Allocate) -> Dataset:
        type(self).reads += 1
        images = allocate("train", (6, image_size, image_size, 1))
        images[:4] = np.arange(4, dtype=np.uint8)[:, None, None, None]
        if type(self).broken:
            raise DataError("half way")
        groups = {"pair": Grouping(np.array([0, 0, 1, 1]), ("a", "b")), "one": Grouping(np.zeros(4, np.int64), ("x",))}
        train = ImageSet("counted", images[:4], np.array([0, 1, 0, 1]), ("p", "q"), groups)
        empty = ImageSet("counted", allocate("held_out", (0, image_size, image_size, 1)), np.zeros(0, np.int64), ())
        return Dataset(train, empty, (Skipped("bad.png", "empty file"),), ("a note",))


@pytest.fixture
def component(monkeypatch: pytest.MonkeyPatch) -> Component:
    monkeypatch.setattr(Counted, "reads", 0)
    monkeypatch.setattr(sources, "build", lambda chosen, root: Counted(root))
    return Component(name="counted")


def test_a_second_load_reads_no_images_and_gives_the_same(component: Component, tmp_path: Path) -> None:
    first = load_dataset(component, 4, cache=tmp_path)
    second = load_dataset(component, 4, cache=tmp_path)
    assert Counted.reads == 1
    assert np.array_equal(first.train.images, second.train.images)
    assert second.train.classes == ("p", "q")
    assert list(second.train.groupings) == ["pair", "one"]
    assert second.train.groupings["pair"].names == ("a", "b")
    assert second.skipped == (Skipped("bad.png", "empty file"),)
    assert second.notes == ("a note",)


def test_rows_that_were_allocated_but_not_filled_are_cut_off(component: Component, tmp_path: Path) -> None:
    assert load_dataset(component, 4, cache=tmp_path).train.images.shape == (4, 4, 4, 1)


def test_a_set_of_no_images_comes_back_empty(component: Component, tmp_path: Path) -> None:
    held_out = load_dataset(component, 4, cache=tmp_path).held_out
    assert held_out.images.shape == (0, 4, 4, 1)
    assert held_out.classes == ()


def test_cached_images_cannot_be_written_to(component: Component, tmp_path: Path) -> None:
    images = load_dataset(component, 4, cache=tmp_path).train.images
    with pytest.raises(ValueError, match="read-only"):
        images[0, 0, 0, 0] = 1


def test_another_key_size_or_name_is_read_again(
    component: Component, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_dataset(component, 4, cache=tmp_path)
    load_dataset(component, 5, cache=tmp_path)
    load_dataset(Component(name="other"), 4, cache=tmp_path)
    monkeypatch.setattr(Counted, "version", "2")
    load_dataset(component, 4, cache=tmp_path)
    assert Counted.reads == 4


def test_a_read_that_fails_leaves_nothing_behind(
    component: Component, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counted, "broken", True)
    with pytest.raises(DataError, match="half way"):
        load_dataset(component, 4, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_its_last_file_is_written_again(component: Component, tmp_path: Path) -> None:
    load_dataset(component, 4, cache=tmp_path)
    (entry,) = tmp_path.iterdir()
    for file in entry.iterdir():
        file.unlink()
    assert len(load_dataset(component, 4, cache=tmp_path).train) == 4


def test_losing_a_race_to_another_process_is_no_error(
    component: Component, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cache._write

    def twice(source: Any, image_size: int, folder: Path) -> None:
        real(source, image_size, folder)
        real(source, image_size, folder)

    monkeypatch.setattr(cache, "_write", twice)
    assert len(load_dataset(component, 4, cache=tmp_path).train) == 4
    assert len(list(tmp_path.iterdir())) == 1


def test_the_cache_folder_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FEDMETRIC_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("FEDMETRIC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_root() == tmp_path / "fedmetric"


def test_the_data_folder_must_exist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FEDMETRIC_DATA", raising=False)
    assert data_root() is None
    monkeypatch.setenv("FEDMETRIC_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="nowhere does not exist"):
        data_root()
    assert data_root(tmp_path) == tmp_path
