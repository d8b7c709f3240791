from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fedmetric.index import Hit
from fedmetric.report.found import MOST, draw_found


def test_what_was_found_stands_in_order_and_what_is_gone_stays_empty(tmp_path: Path) -> None:
    for name, colour in (("query", (250, 0, 0)), ("near", (0, 250, 0)), ("far", (0, 0, 250))):
        Image.new("RGB", (20, 20), colour).save(tmp_path / f"{name}.png")
    hits = [Hit("near.png", 0.1), Hit("gone.png", 0.2), Hit("far.png", 0.3)]
    draw_found([(tmp_path / "query.png", hits)], tmp_path, tmp_path / "drawn.png")
    drawn = np.asarray(Image.open(tmp_path / "drawn.png").convert("RGB"))
    centres = []
    for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250)):
        places = np.argwhere((drawn == colour).all(axis=2))
        assert len(places) > 100
        centres.append(places[:, 1].mean() / drawn.shape[1])
    assert np.allclose(centres, [1 / 8, 3 / 8, 7 / 8], atol=0.03)


def test_nothing_outside_the_folder_is_opened(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    Image.new("RGB", (20, 20), (250, 0, 0)).save(tmp_path / "secret.png")
    Image.new("RGB", (20, 20), (0, 250, 0)).save(tmp_path / "root" / "a.png")
    hits = [Hit("../secret.png", 0.1), Hit(str(tmp_path / "secret.png"), 0.2)]
    draw_found([(tmp_path / "root" / "a.png", hits)], tmp_path / "root", tmp_path / "drawn.png")
    drawn = np.asarray(Image.open(tmp_path / "drawn.png").convert("RGB"))
    assert (drawn == (0, 250, 0)).all(axis=2).any()
    assert not (drawn == (250, 0, 0)).all(axis=2).any()


def test_a_link_to_itself_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / "a.png")
    draw_found([(tmp_path / "a.png", [Hit("a.png", 0.0)])], tmp_path, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").is_file()


def test_no_picture_is_larger_than_can_be_drawn(tmp_path: Path) -> None:
    Image.new("L", (9, 9), 100).save(tmp_path / "a.png")
    draw_found([(tmp_path / "a.png", [Hit("gone.png", 0.0)] * 500)], tmp_path, tmp_path / "drawn.png")
    with Image.open(tmp_path / "drawn.png") as picture:
        assert picture.width == round(1.1 * (MOST + 1) * 150)


def test_lines_may_be_of_unlike_length(tmp_path: Path) -> None:
    Image.new("L", (9, 9), 100).save(tmp_path / "a.png")
    draw_found([(tmp_path / "a.png", []), (tmp_path / "a.png", [Hit("a.png", 0.0)])], tmp_path, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").stat().st_size > 1000
