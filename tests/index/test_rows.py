from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fedmetric.arrays import save_arrays
from fedmetric.errors import DataError, FedmetricError
from fedmetric.index.rows import Rows, Stamp


def rows(*names: str, value: float = 0) -> Rows:
    vectors = np.arange(3 * len(names), dtype=np.float32).reshape(-1, 3) + np.float32(value)
    return Rows(tuple(Stamp(name, 10, 2**60 + 1) for name in names), vectors)


def same(one: Rows, other: Rows) -> bool:
    return one.stamps == other.stamps and np.array_equal(one.vectors, other.vectors)


@pytest.mark.parametrize(
    "names",
    [("a/b.png",), ("Zürich/ü ß.jpg", "line\nbreak.png", "日本.png"), (os.fsdecode(b"not \xff utf-8.png"), "x")],
)
def test_rows_come_back_from_the_disk_whatever_the_files_are_called(tmp_path: Path, names: tuple[str, ...]) -> None:
    rows(*names).save(tmp_path / "rows.safetensors")
    assert same(Rows.load(tmp_path / "rows.safetensors"), rows(*names))
    assert [path.name for path in tmp_path.iterdir()] == ["rows.safetensors"]


def test_no_rows_come_back_as_no_rows(tmp_path: Path) -> None:
    Rows.none().save(tmp_path / "rows.safetensors")
    assert same(Rows.load(tmp_path / "rows.safetensors"), Rows.none())


def test_a_file_that_changed_has_another_stamp(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    path = tmp_path / "deep" / "a.png"
    path.write_bytes(b"one")
    before = Stamp.of(path, tmp_path)
    assert before == Stamp.of(path, tmp_path)
    assert before[:2] == ("deep/a.png", 3)
    path.write_bytes(b"two")
    os.utime(path, ns=(0, 0))
    changed = Stamp.of(path, tmp_path)
    os.utime(path, ns=(0, 0))
    assert before[:2] == changed[:2]
    assert len({before, changed, Stamp.of(path, tmp_path)}) >= 2


def test_the_first_of_two_parts_wins_and_rows_are_picked_in_any_order() -> None:
    joined = Rows.joined([rows("a", "b"), Rows.none(), rows("b", "c", value=100)])
    assert {stamp.path for stamp in joined.stamps} == {"a", "b", "c"}
    picked = joined.pick([Stamp(name, 10, 2**60 + 1) for name in "cba"])
    assert picked.vectors[:, 0].tolist() == [103, 3, 0]
    assert same(Rows.joined([]), Rows.none())


def test_stamps_and_embeddings_decide_the_hash() -> None:
    assert rows("a").sha256() == rows("a").sha256()
    assert len({rows("a").sha256(), rows("b").sha256(), rows("a", value=1).sha256()}) == 3


def test_what_is_no_rows_file_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "rows.safetensors"
    save_arrays(place, {"weight": np.zeros(3)})
    with pytest.raises(DataError, match="holds weight, which are not the rows of an index"):
        Rows.load(place)
    save_arrays(place, {**rows("a", "b").arrays(), "vectors": np.zeros((3, 3), np.float32)})
    with pytest.raises(DataError, match="2 paths, 2 stamps and 3 embeddings"):
        Rows.load(place)
    place.write_bytes(b"torn")
    with pytest.raises(FedmetricError, match="cannot be read as safetensors"):
        Rows.load(place)
