"""The user's own images: whatever the layout, the notes say what was understood."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedmetric.data.base import Allocate
from fedmetric.data.cache import load_dataset
from fedmetric.data.layout import walk
from fedmetric.data.sources.folder import Folder
from fedmetric.errors import ConfigError, DataError
from fedmetric.registry import sources

Write = Callable[..., Path]


@pytest.fixture
def pets(tmp_path: Path, write_image: Write) -> Path:
    """Write 5 classes of 4 images under two clients; the grey value tells class and image apart."""
    for number, name in enumerate(["ant", "bee", "cat", "dog", "eel"]):
        for image in range(4):
            write_image(tmp_path / "pets" / f"clinic {image % 2}" / name / f"{image}.png", 10 * number + image)
    return tmp_path


@pytest.fixture
def classes(tmp_path: Path, write_image: Write) -> Path:
    for number, name in enumerate(["ant", "bee", "cat", "dog", "eel"]):
        for image in range(2):
            write_image(tmp_path / name / f"{image}.png", 10 * number + image)
    return tmp_path


def test_client_class_image_gives_clients_and_one_class_for_both(pets: Path, allocate: Allocate) -> None:
    dataset = Folder(pets, path="pets", held_out=("bee",)).read(8, allocate)
    assert dataset.train.classes == ("ant", "cat", "dog", "eel")
    assert dataset.held_out.classes == ("bee",)
    assert sorted(dataset.held_out.images[:, 0, 0, 0].tolist()) == [10, 11, 12, 13]
    assert dataset.train.groupings["client"].names == ("clinic 0", "clinic 1")
    assert np.bincount(dataset.train.labels).tolist() == [4, 4, 4, 4]
    assert dataset.notes == ("20 images, 5 classes, 2 clients, layout client/class/image, grey; held out: bee",)


def test_class_image_has_no_clients_and_says_how_to_make_them(classes: Path, allocate: Allocate) -> None:
    dataset = Folder(classes, held_out=("a*", "eel")).read(8, allocate)
    assert dataset.held_out.classes == ("ant", "eel")
    assert dataset.train.groupings == {}
    assert dataset.notes == (
        "10 images, 5 classes, layout class/image, grey; held out: ant, eel",
        "one level of folders was read as classes; if they are clients, set layout = 'unlabelled'",
    )


def test_the_same_folders_are_clients_when_told_so(classes: Path, allocate: Allocate) -> None:
    dataset = Folder(classes, layout="unlabelled").read(8, allocate)
    assert set(dataset.train.labels.tolist()) == {-1}
    assert dataset.train.classes == ()
    assert dataset.train.groupings["client"].names == ("ant", "bee", "cat", "dog", "eel")
    assert len(dataset.held_out) == 0
    assert dataset.notes == (
        "10 images, 0 classes, 5 clients, 10 without a label, layout unlabelled, grey; held out: none",
    )


def test_flat_images_are_unlabelled_and_survive_the_cache(tmp_path: Path, write_image: Write) -> None:
    for image in range(3):
        write_image(tmp_path / "in" / f"{image}.png", image)
    component = sources["folder"].options(path="in")
    for _ in range(2):
        dataset = load_dataset(component, 8, root=tmp_path, cache=tmp_path / "cache")
        assert dataset.train.images[:, 0, 0, 0].tolist() == [0, 1, 2]
        assert dataset.train.groupings == {}
        assert dataset.held_out.images.shape == (0, 8, 8, 1)
        assert "3 without a label, layout unlabelled" in dataset.notes[0]


def test_without_names_a_share_is_held_out_by_the_hash_of_the_names(classes: Path, allocate: Allocate) -> None:
    dataset = Folder(classes, held_out_share=0.4).read(8, allocate)
    assert len(dataset.held_out.classes) == 2
    assert Folder(classes, held_out_share=0.4).read(8, allocate).held_out.classes == dataset.held_out.classes
    assert len(Folder(classes, held_out_share=0.0).read(8, allocate).held_out) == 0


def test_a_single_class_holds_nothing_out(tmp_path: Path, write_image: Write, allocate: Allocate) -> None:
    write_image(tmp_path / "only" / "a.png")
    dataset = Folder(tmp_path, held_out_share=0.5).read(8, allocate)
    assert len(dataset.held_out) == 0
    assert dataset.notes[0].endswith("held out: none")


def test_a_held_out_name_that_matches_nothing_names_the_nearest(classes: Path, allocate: Allocate) -> None:
    with pytest.raises(ConfigError, match=r"no class of .* matches 'eell'; did you mean 'eel'\?; classes: ant, bee"):
        Folder(classes, held_out=("eell",)).read(8, allocate)


def test_holding_everything_out_is_refused(classes: Path, allocate: Allocate) -> None:
    with pytest.raises(ConfigError, match=r"holds out all 5 classes of .* and leaves none to train on"):
        Folder(classes, held_out=("*",)).read(8, allocate)


@pytest.mark.parametrize(
    ("modes", "colour", "channels"),
    [(["L", "L"], "auto", 1), (["L", "RGB"], "auto", 3), (["RGB", "RGB"], "grey", 1), (["L", "L"], "rgb", 3)],
)
def test_colour_is_found_or_told(
    modes: list[str], colour: str, channels: int, tmp_path: Path, write_image: Write, allocate: Allocate
) -> None:
    for number, mode in enumerate(modes):
        write_image(tmp_path / f"{number}.png", 50, mode)
    dataset = Folder(tmp_path, colour=colour).read(8, allocate)  # type: ignore[arg-type]
    assert dataset.train.channels == channels
    assert ("grey" if channels == 1 else "colour") in dataset.notes[0]


def test_inverting_makes_dark_ink_white(tmp_path: Path, write_image: Write, allocate: Allocate) -> None:
    write_image(tmp_path / "a.png", 5)
    assert Folder(tmp_path, invert=True).read(8, allocate).train.images.max() == 250


def test_hidden_files_are_ignored_and_others_counted(classes: Path, write_image: Write, allocate: Allocate) -> None:
    write_image(classes / ".thumbnails" / "ant" / "x.png")
    write_image(classes / "ant" / "._0.png")
    (classes / "ant" / "notes.txt").write_text("no image")
    dataset = Folder(classes).read(8, allocate)
    assert "10 images, 5 classes" in dataset.notes[0]
    assert "1 files that are no images were ignored" in dataset.notes


def test_images_at_different_depths_are_refused_with_examples(classes: Path, write_image: Write) -> None:
    write_image(classes / "stray.png")
    with pytest.raises(DataError, match=r"different depths \(1 like stray.png; 10 like ant/0.png\); set layout to"):
        Folder(classes).key()


def test_a_layout_that_is_told_leaves_strays_out_and_says_so(
    classes: Path, write_image: Write, allocate: Allocate
) -> None:
    write_image(classes / "stray.png")
    dataset = Folder(classes, layout="class").read(8, allocate)
    assert "1 images were left out: they do not lie at class/image" in dataset.notes


def test_a_layout_that_fits_no_image_is_refused(classes: Path) -> None:
    with pytest.raises(
        DataError, match=r"layout = 'client-class' \(client/class/image\), but no image lies 2 folders deep"
    ):
        Folder(classes, layout="client-class").key()


def test_folders_that_are_too_deep_are_refused(tmp_path: Path, write_image: Write) -> None:
    write_image(tmp_path / "a" / "b" / "c" / "d.png")
    with pytest.raises(DataError, match="images lie 3 folders deep, more than client/class/image"):
        Folder(tmp_path).key()


def test_train_and_test_folders_are_noticed(tmp_path: Path, write_image: Write, allocate: Allocate) -> None:
    for split in ("train", "test"):
        write_image(tmp_path / split / "ant" / "0.png")
    (note,) = Folder(tmp_path).read(8, allocate).notes[1:]
    assert note == "test, train were read as clients; if they are splits, set path to one of them or use a manifest"


def test_a_folder_without_images_names_the_known_endings(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no images; known endings: \.bmp"):
        Folder(tmp_path).key()


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path: .*nowhere is no folder"):
        Folder(tmp_path, path="nowhere").key()


def test_an_absolute_path_needs_no_data_folder(classes: Path, allocate: Allocate) -> None:
    assert len(Folder(None, path=str(classes)).read(8, allocate).train) == 8


def test_a_link_out_of_the_folder_is_not_read(tmp_path: Path, write_image: Write, allocate: Allocate) -> None:
    secret = write_image(tmp_path / "secret.png", 99)
    for image in range(30):
        write_image(tmp_path / "in" / f"{image:02d}.png", 1)
    os.symlink(secret, tmp_path / "in" / "link.png")
    dataset = Folder(tmp_path, path="in").read(8, allocate)
    assert dataset.train.images.max() == 1
    assert [(item.path, item.reason) for item in dataset.skipped] == [("link.png", "lies outside the data folder")]


def test_links_to_folders_are_not_followed_and_broken_links_and_pipes_are_counted(
    tmp_path: Path, write_image: Write, allocate: Allocate
) -> None:
    for image in range(40):
        write_image(tmp_path / "in" / f"{image:02d}.png")
    os.symlink(tmp_path, tmp_path / "in" / "loop")
    os.symlink(tmp_path / "gone.png", tmp_path / "in" / "broken.png")
    os.mkfifo(tmp_path / "in" / "pipe.png")
    dataset = Folder(tmp_path, path="in").read(8, allocate)
    assert len(dataset.train) == 40
    assert "1 links to folders were not followed" in dataset.notes
    assert [(item.path, item.reason) for item in dataset.skipped] == [
        ("broken.png", "a link that leads nowhere"),
        ("pipe.png", "not a file"),
    ]


def test_what_may_not_be_read_is_counted_and_never_taken_for_gone(
    classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without permission to list it, and files in one without permission to enter it."""
    scan, is_file = os.scandir, Path.is_file
    closed, files = sorted(path for path in classes.iterdir() if path.is_dir())[:2]

    def listed(place: str) -> object:
        if Path(place) == closed:
            raise PermissionError(13, "Permission denied", str(place))
        return scan(place)

    def entered(path: Path) -> bool:
        if path.parent == files:
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(os, "scandir", listed)
    monkeypatch.setattr(Path, "is_file", entered)
    images, _, skipped = walk(classes)
    told = {item.path: item.reason for item in skipped}
    assert told.pop(closed.name) == "cannot be listed: Permission denied"
    assert set(told.values()) == {"cannot be reached: Permission denied"}
    assert {Path(path).parent.name for path in told} == {files.name}
    assert not {path.parent for path in images} & {closed, files}


def test_too_many_unusable_images_stop_the_run(classes: Path, allocate: Allocate) -> None:
    for name in ("ant", "bee", "cat", "dog", "eel"):
        (classes / name / "0.png").write_bytes(b"")
    with pytest.raises(DataError, match="images cannot be used, more than 5%"):
        Folder(classes).read(8, allocate)


def test_the_key_changes_with_the_files(classes: Path, write_image: Write) -> None:
    before = Folder(classes).key()
    assert Folder(classes).key() == before
    write_image(classes / "ant" / "9.png")
    assert Folder(classes).key() != before
