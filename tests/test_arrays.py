"""Named arrays: hashed, compared both ways, and stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedmetric.arrays import Arrays, check_same, load_arrays, num_bytes, save_arrays, sha256_of
from fedmetric.errors import FedmetricError, ProtocolError


def arrays() -> Arrays:
    return {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(4, np.int64), "e": np.zeros((0, 2))}


def test_the_hash_does_not_depend_on_order_or_layout() -> None:
    first = arrays()
    second = {name: array.copy(order="F") for name, array in reversed(arrays().items())}
    assert sha256_of(first) == sha256_of(second)
    assert len(sha256_of(first)) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"w": np.arange(6, dtype=np.float64).reshape(2, 3)},
        {"w": np.arange(6, dtype=np.float32).reshape(3, 2)},
        {"w": np.arange(1, 7, dtype=np.float32).reshape(2, 3)},
        {"w": np.arange(6, dtype=np.int32).reshape(2, 3)},
        {"x": np.zeros(1)},
        {"e": np.zeros((2, 0))},
        {"n": np.array([4], np.int64)},
    ],
)
def test_the_hash_sees_names_types_shapes_and_values(change: Arrays) -> None:
    assert sha256_of(arrays() | change) != sha256_of(arrays())


def test_zero_and_minus_zero_are_other_bits() -> None:
    assert sha256_of({"w": np.array([0.0])}) != sha256_of({"w": np.array([-0.0])})


def test_bytes_are_counted_without_headers() -> None:
    """Six floats of 4 bytes, one integer of 8, and an empty array."""
    assert num_bytes(arrays()) == 6 * 4 + 8 + 0


def test_equal_names_shapes_and_types_pass_whatever_the_values() -> None:
    check_same({name: array + 1 for name, array in reversed(arrays().items())}, arrays(), "mine")


def test_names_are_compared_both_ways() -> None:
    given = arrays() | {"extra": np.zeros(1)}
    del given["w"]
    with pytest.raises(ProtocolError, match=r"^mine: missing arrays \['w'\], unexpected arrays \['extra'\]$"):
        check_same(given, arrays(), "mine")


def test_long_lists_of_names_are_cut() -> None:
    with pytest.raises(ProtocolError, match=r"missing arrays \['0', '1', '2', '3', '4'\], unexpected arrays \[\]"):
        check_same({}, {str(i): np.zeros(1) for i in range(9)}, "mine")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3)), r"mine: w is float64 \(2, 3\), expected float32 \(2, 3\)"),
        (np.zeros(6, np.float32), r"mine: w is float32 \(6,\), expected float32 \(2, 3\)"),
    ],
)
def test_other_types_and_shapes_are_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        check_same(arrays() | {"w": array}, arrays(), "mine")


def test_arrays_survive_the_way_through_a_file(tmp_path: Path) -> None:
    given = arrays() | {"t": np.arange(6, dtype=np.float32).reshape(2, 3).T}
    save_arrays(tmp_path / "a.safetensors", given)
    found = load_arrays(tmp_path / "a.safetensors")
    check_same(found, given, "file")
    assert sha256_of(found) == sha256_of(given)


def test_a_missing_or_broken_file_is_one_clear_line(tmp_path: Path) -> None:
    save_arrays(tmp_path / "cut.safetensors", arrays())
    content = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-3])
    (tmp_path / "text.safetensors").write_text("no arrays")
    for name in ("missing", "cut", "text"):
        with pytest.raises(FedmetricError, match=rf"{name}\.safetensors: cannot be read as safetensors: "):
            load_arrays(tmp_path / f"{name}.safetensors")
