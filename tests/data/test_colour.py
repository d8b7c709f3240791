"""Grey or coloured, by the headers of files that may be broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmetric.data.colour import channels_of, has_colour

Write = Callable[..., Path]


@pytest.mark.parametrize(
    ("mode", "coloured"), [("1", False), ("L", False), ("LA", False), ("RGB", True), ("RGBA", True)]
)
def test_the_mode_in_the_header_decides(mode: str, coloured: bool, tmp_path: Path, write_image: Write) -> None:
    assert has_colour(write_image(tmp_path / "a.png", 5, mode)) is coloured


def test_a_file_that_is_no_image_has_no_colour(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    assert not has_colour(tmp_path / "a.png")


def test_one_coloured_image_among_few_makes_the_set_coloured(tmp_path: Path, write_image: Write) -> None:
    paths = [write_image(tmp_path / f"{i}.png", 5, "RGB" if i == 7 else "L") for i in range(10)]
    assert channels_of(paths, "auto") == 3
    assert channels_of(paths[:7], "auto") == 1
    assert channels_of(paths, "grey") == 1
    assert channels_of([], "auto") == 1


def test_sixteen_bit_images_are_grey(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 4000, dtype=np.uint16)).save(tmp_path / "a.png")
    assert not has_colour(tmp_path / "a.png")
