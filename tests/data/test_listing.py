"""Lists of files and tables of names, and resized arrays."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fedmetric.data.listing import grouping, listing_key, table
from fedmetric.data.resize import resize_into


def test_names_are_numbered_in_sorted_order() -> None:
    names, codes = table(["b", "a", "b"])
    assert names == ("a", "b")
    assert codes.tolist() == [1, 0, 1]
    assert codes.dtype == np.int64
    assert grouping(["b", "a"]).codes.tolist() == [1, 0]


def test_no_names_make_an_empty_table() -> None:
    names, codes = table([])
    assert names == ()
    assert codes.shape == (0,)


def test_the_key_of_a_listing_sees_names_sizes_and_times(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    os.utime(path, ns=(1, 1))
    keys = [listing_key(tmp_path, [path])]
    os.utime(path, ns=(2, 2))
    keys.append(listing_key(tmp_path, [path]))
    path.write_text("xy")
    os.utime(path, ns=(2, 2))
    keys.append(listing_key(tmp_path, [path]))
    keys.append(listing_key(tmp_path, [path.rename(tmp_path / "b")]))
    assert len(set(keys)) == 4


@pytest.mark.parametrize("channels", [1, 3])
def test_equal_sizes_are_copied_and_shrinking_weighs_by_distance(channels: int) -> None:
    """Halving four pixels: the first centre is at 1, and a triangle of half-width 2 weighs 0.5, 1.5, 2.5 by 3, 3, 1."""
    pixels = np.arange(2 * 4 * 4 * channels, dtype=np.uint8).reshape(2, 4, 4, channels)
    same = np.zeros_like(pixels)
    resize_into(pixels, same)
    assert np.array_equal(same, pixels)
    half = np.zeros((2, 2, 2, channels), dtype=np.uint8)
    resize_into(pixels, half)
    weights = np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7
    expected = np.einsum("yh,xw,nhwc->nyxc", weights, weights, pixels)
    assert np.abs(half - expected).max() <= 1


def test_enlarging_keeps_a_constant_image() -> None:
    out = np.zeros((1, 9, 9, 1), dtype=np.uint8)
    resize_into(np.full((1, 4, 4, 1), 33, dtype=np.uint8), out)
    assert set(out.ravel().tolist()) == {33}
