"""Held-out classes are out of reach of a sweep: by their names, by their pixels, and by weights that saw them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedmetric.data.base import class_hash
from fedmetric.errors import DataError
from fedmetric.export import save_model
from fedmetric.simulations.sweep import Sweep, cells_with, check_classes_untouched
from fedmetric.training.site import Site
from tiny import TINY, tiny

VALIDATION = ("validation_classes=0.34", "evaluation.on=validation")


def drawing(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16), np.uint8)).save(path)


@pytest.fixture
def base(tmp_path: Path) -> str:
    """Return an experiment on three classes, of which "c" is held out."""
    for number, name in enumerate(("a", "b", "c")):
        drawing(tmp_path / "images" / name / "1.png", number)
    place = tmp_path / "base.toml"
    place.write_text(f"image_size = 16\n[data]\n{data(tmp_path / 'images', 'c')}")
    return str(place)


def data(folder: Path, held_out: str) -> str:
    return f'name = "folder"\npath = {json.dumps(str(folder))}\nheld_out = ["{held_out}"]\n'


def elsewhere(base: str, folder: Path, **parts: object) -> Sweep:
    table = ", ".join(data(folder, "x").splitlines())
    return Sweep.model_validate({"base": base, "set": [*VALIDATION, f"data={{{table}}}"], **parts})


def check(sweep: Sweep) -> None:
    check_classes_untouched(sweep, cells_with(sweep, ("cell",), []))


def test_held_out_images_under_another_name(base: str, tmp_path: Path) -> None:
    drawing(tmp_path / "others" / "x" / "1.png", 7)
    drawing(tmp_path / "others" / "y" / "1.png", 2)
    said = r"1 held-out images are also trained on, such as one of class 'c', here of class 'y'"
    with pytest.raises(DataError, match=said):
        check(elsewhere(base, tmp_path / "others"))
    check(elsewhere(base, tmp_path / "others", report=True))


def test_other_images_are_no_matter_nor_are_empty_pages_that_both_sides_have(base: str, tmp_path: Path) -> None:
    drawing(tmp_path / "others" / "x" / "1.png", 7)
    drawing(tmp_path / "others" / "y" / "1.png", 8)
    for place in ("images/c", "others/y"):
        Image.new("L", (16, 16), 255).save(tmp_path / place / "page.png")
    check(elsewhere(base, tmp_path / "others"))


def test_weights_that_saw_a_held_out_class(tmp_path: Path) -> None:
    place = tmp_path / "tiny.toml"
    place.write_text(TINY)
    held_out = Site(tiny()).dataset.held_out.present_classes()[0]
    save_model(tmp_path / "model", tiny(), 1, Site(tiny()).trainer.embedder.shared(), (class_hash(held_out),))
    start = f'start.weights="{tmp_path / "model"}"'
    with pytest.raises(
        DataError, match=f"start.weights = .*: the model was trained on 1 of the .* classes: {held_out}"
    ):
        check(Sweep.model_validate({"base": str(place), "set": [*VALIDATION, start]}))
