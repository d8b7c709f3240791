"""Omniglot's tree of alphabets, characters and drawers, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fedmetric.data.base import Allocate
from fedmetric.data.sources.omniglot import Omniglot
from fedmetric.errors import ConfigError, DataError

Write = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, write_image: Write) -> Path:
    """Write 2 + 1 alphabets of 2 characters by 3 drawers, black ink on white."""
    number = 0
    for split, alphabets in (("images_background", ["Greek", "Latin"]), ("images_evaluation", ["Tengwar"])):
        for alphabet in alphabets:
            for character in ("character01", "character02"):
                number += 1
                for drawer in (1, 2, 3):
                    file = tmp_path / "omniglot-py" / split / alphabet / character / f"{number:04d}_{drawer:02d}.png"
                    write_image(file, 250 - number)
    return tmp_path


def test_alphabets_are_split_and_ink_is_white(root: Path, allocate: Allocate) -> None:
    dataset = Omniglot(root).read(8, allocate)
    assert dataset.train.classes == tuple(f"{a}/character0{c}" for a in ("Greek", "Latin") for c in (1, 2))
    assert dataset.held_out.classes == ("Tengwar/character01", "Tengwar/character02")
    assert dataset.train.images[:, 0, 0, 0].tolist() == [6, 6, 6, 7, 7, 7, 8, 8, 8, 9, 9, 9]


def test_the_groupings_are_alphabet_drawer_and_mixed(root: Path, allocate: Allocate) -> None:
    groupings = Omniglot(root).read(8, allocate).train.groupings
    assert {name: len(grouping.names) for name, grouping in groupings.items()} == {
        "alphabet": 2,
        "drawer": 6,
        "mixed": 3,
    }
    assert groupings["drawer"].names[4] == "Latin/02"


def test_any_alphabets_may_be_learnt_from_and_held_out(root: Path, allocate: Allocate) -> None:
    dataset = Omniglot(root, train=("Tengwar",), unseen=("Latin",)).read(8, allocate)
    assert dataset.train.classes == ("Tengwar/character01", "Tengwar/character02")
    assert dataset.held_out.classes == ("Latin/character01", "Latin/character02")


def test_an_alphabet_that_is_not_there_is_named_with_the_nearest(root: Path) -> None:
    with pytest.raises(DataError, match="omniglot has no alphabet 'Grek'; did you mean 'Greek'"):
        Omniglot(root, train=("Grek",)).key()


def test_an_alphabet_on_both_sides_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.train and data\.unseen both name Greek"):
        Omniglot(root, train=("Greek", "Latin"), unseen=("Greek",))


def test_a_missing_tree_names_every_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"omniglot-py.\{images_background,images_evaluation\}, .*--allow-download"):
        Omniglot(tmp_path).key()


def test_an_empty_tree_is_refused(tmp_path: Path, allocate: Allocate) -> None:
    for folder in ("images_background", "images_evaluation"):
        (tmp_path / folder).mkdir()
    with pytest.raises(DataError, match=r"no alphabet/character/\*\.png in .*images_background"):
        Omniglot(tmp_path).read(8, allocate)
