"""Image sets made by hand and files written on the spot, shared by the tests of the data path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmetric.data.base import Allocate, Grouping, Images, ImageSet


@pytest.fixture
def make_set() -> Callable[..., ImageSet]:
    """Return a builder of small image sets: 6 classes of unequal size, or the labels given, and optional groupings."""

    def build(labels: list[int] | None = None, classes: int = 6, **groupings: list[int]) -> ImageSet:
        codes = np.asarray([i % classes for i in range(20 * classes - 7)] if labels is None else labels, dtype=np.int64)
        images = np.zeros((len(codes), 4, 4, 1), dtype=np.uint8)
        images[:, 0, 0, 0] = np.arange(len(codes)) % 256
        groups = {
            name: Grouping(np.asarray(members, dtype=np.int64), tuple(f"{name} {i}" for i in range(max(members) + 1)))
            for name, members in groupings.items()
        }
        return ImageSet("hand-made", images, codes, tuple(f"class {i}" for i in range(classes)), groups)

    return build


@pytest.fixture
def allocate() -> Allocate:
    """Return an allocator in memory."""

    def in_memory(split: str, shape: tuple[int, int, int, int]) -> Images:
        return np.zeros(shape, dtype=np.uint8)

    return in_memory


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Return a function that writes one 8x8 image of a mode and grey value, making its folders."""

    def write(path: Path, value: int = 100, mode: str = "L", size: int = 8) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (size, size), value).convert(mode).save(path)
        return path

    return write
