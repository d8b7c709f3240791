"""Image files that nobody vouches for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmetric.data import decode
from fedmetric.data.decode import decode_files, decode_image
from fedmetric.errors import DataError

Write = Callable[..., Path]


def test_a_grey_image_keeps_its_values(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(decode_image(tmp_path / "a.png", 8, 1)[:, :, 0], pixels)


def test_inverting_turns_black_ink_white(tmp_path: Path, write_image: Write) -> None:
    path = write_image(tmp_path / "a.png", 10)
    assert decode_image(path, 8, 1, invert=True).max() == 245


def test_shrinking_averages_areas(tmp_path: Path) -> None:
    pixels = np.array([[0, 100], [200, 100]], dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert decode_image(tmp_path / "a.png", 1, 1).item() == 100


def test_one_grey_channel_becomes_three_equal_ones(tmp_path: Path, write_image: Write) -> None:
    image = decode_image(write_image(tmp_path / "a.png", 77), 8, 3)
    assert image.shape == (8, 8, 3)
    assert set(image.ravel().tolist()) == {77}


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "LA", "RGBA"])
def test_eight_bit_modes_are_read(mode: str, tmp_path: Path, write_image: Write) -> None:
    assert decode_image(write_image(tmp_path / "a.png", 255, mode), 4, 1).min() == 255


@pytest.mark.parametrize(
    ("mode", "ending", "reason"),
    [
        ("P", "png", "palette image"),
        ("CMYK", "tif", "CMYK image"),
        ("I", "tif", "32-bit image"),
        ("F", "tif", "floating-point"),
    ],
)
def test_modes_whose_values_mean_something_else_are_refused_with_the_reason(
    mode: str, ending: str, reason: str, tmp_path: Path, write_image: Write
) -> None:
    path = write_image(tmp_path / f"a.{ending}", 9, mode)
    with pytest.raises(ValueError, match=reason):
        decode_image(path, 8, 1)


def test_sixteen_bit_images_are_refused_because_their_range_is_unknown(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 4000, dtype=np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"16-bit image|32-bit image"):
        decode_image(tmp_path / "a.png", 8, 1)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match="empty file"):
        decode_image(tmp_path / "a.png", 8, 1)


def test_text_under_an_image_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode_image(tmp_path / "a.png", 8, 1)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_truncated_file_is_refused(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode_image(path, 8, 1)


def test_an_image_of_too_many_pixels_is_refused(
    tmp_path: Path, write_image: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "MAX_PIXELS", 63)
    with pytest.raises(ValueError, match="8x8 pixels, more than 63"):
        decode_image(write_image(tmp_path / "a.png"), 8, 1)


def test_bad_files_are_left_out_and_the_rest_moves_up(tmp_path: Path, write_image: Write) -> None:
    paths = [write_image(tmp_path / f"{i:02d}.png", i) for i in range(40)]
    paths[3].write_bytes(b"")
    out = np.zeros((40, 8, 8, 1), dtype=np.uint8)
    kept, skipped = decode_files(paths, tmp_path, 8, 1, out)
    assert kept.tolist() == [i for i in range(40) if i != 3]
    assert out[:39, 0, 0, 0].tolist() == kept.tolist()
    assert [(item.path, item.reason) for item in skipped] == [("03.png", "empty file")]


def test_a_link_that_leaves_the_folder_is_left_out(tmp_path: Path, write_image: Write) -> None:
    secret = write_image(tmp_path / "elsewhere" / "secret.png")
    paths = [write_image(tmp_path / "in" / f"{i:02d}.png") for i in range(30)]
    os.symlink(secret, tmp_path / "in" / "link.png")
    kept, skipped = decode_files(
        [*paths, tmp_path / "in" / "link.png"], tmp_path / "in", 8, 1, np.zeros((31, 8, 8, 1), dtype=np.uint8)
    )
    assert len(kept) == 30
    assert [(item.path, item.reason) for item in skipped] == [("link.png", "lies outside the data folder")]


@pytest.mark.parametrize(("bad", "refused"), [(1, False), (2, True)])
def test_more_than_one_bad_file_in_twenty_stops_the_run(
    bad: int, refused: bool, tmp_path: Path, write_image: Write
) -> None:
    paths = [write_image(tmp_path / f"{i}.png") for i in range(20)]
    for path in paths[:bad]:
        path.write_bytes(b"")
    out = np.zeros((20, 8, 8, 1), dtype=np.uint8)
    if refused:
        with pytest.raises(DataError, match=r"2 of 20 images cannot be used, more than 5%; 0\.png: empty file"):
            decode_files(paths, tmp_path, 8, 1, out)
    else:
        assert len(decode_files(paths, tmp_path, 8, 1, out)[1]) == 1
