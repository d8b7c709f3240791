"""The CSV manifest of a folder of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fedmetric.data.base import Allocate
from fedmetric.data.manifest import escapes, read_manifest
from fedmetric.data.sources.folder import Folder
from fedmetric.errors import DataError

Write = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, write_image: Write) -> Path:
    for image in range(30):
        write_image(tmp_path / "in" / "deep" / f"{image}.png", image)
    return tmp_path / "in"


def write(root: Path, *lines: str) -> None:
    (root / "manifest.csv").write_text("\n".join(lines), encoding="utf-8")


def test_rows_give_class_client_and_split(root: Path, allocate: Allocate) -> None:
    write(
        root,
        "path,label,client,split",
        "deep/0.png,ant,north,train",
        "deep/1.png,bee,south,",
        "deep/2.png,cat,south,held-out",
        "deep/3.png,,,",
    )
    dataset = Folder(root).read(8, allocate)
    assert dataset.train.images[:, 0, 0, 0].tolist() == [0, 1, 3]
    assert dataset.train.classes == ("ant", "bee")
    assert dataset.train.labels.tolist() == [0, 1, -1]
    client = dataset.train.groupings["client"]
    assert [client.names[code] for code in client.codes] == ["north", "south", "no client"]
    assert dataset.held_out.classes == ("cat",)
    assert dataset.notes == ("4 images, 3 classes, 3 clients, 1 without a label, layout manifest, grey; held out: cat",)


def test_a_manifest_of_paths_alone_is_an_unlabelled_set(root: Path, allocate: Allocate) -> None:
    write(root, "path", "deep/4.png", "deep/5.png")
    dataset = Folder(root).read(8, allocate)
    assert dataset.train.labels.tolist() == [-1, -1]
    assert dataset.train.groupings == {}


def test_labels_without_splits_are_held_out_by_hash(root: Path, allocate: Allocate) -> None:
    write(root, "path,label", *(f"deep/{i}.png,class {i % 5}" for i in range(30)))
    assert len(Folder(root).read(8, allocate).held_out.classes) == 1


def test_a_byte_order_mark_spaces_and_quoted_commas_are_understood(root: Path) -> None:
    (root / "manifest.csv").write_text('\ufeffpath, label\ndeep/0.png , "a, b"\n"deep/1.png","a, b"', encoding="utf-8")
    listing = read_manifest(root, "manifest.csv")
    assert [path.name for path in listing.paths] == ["0.png", "1.png"]
    assert listing.labels[1] == "a, b"


def test_paths_that_leave_the_folder_are_skipped_and_counted(
    root: Path, write_image: Write, allocate: Allocate
) -> None:
    secret = write_image(root.parent / "secret.png", 200)
    write(root, "path", *(f"deep/{i}.png" for i in range(30)), "../secret.png")
    dataset = Folder(root).read(8, allocate)
    assert dataset.train.images.max() == 29
    assert [(item.path, item.reason) for item in dataset.skipped] == [("../secret.png", "leaves the data folder")]
    write(root, "path", *(f"deep/{i}.png" for i in range(30)), str(secret))
    assert Folder(root).read(8, allocate).skipped[0].reason == "leaves the data folder"


def test_many_paths_that_leave_the_folder_are_refused(root: Path) -> None:
    write(root, "path", "deep/0.png", "../secret.png", "deep/none.png")
    with pytest.raises(
        DataError, match=r"2 of 3 images cannot be used; \.\./secret\.png: leaves the data folder; deep/none"
    ):
        Folder(root).key()


@pytest.mark.parametrize(
    "text", ["", "/etc/x.png", "a/../../x.png", "..\\x.png", "C:\\x.png", "C:x.png", "\\\\host\\x.png"]
)
def test_escapes_are_seen_by_the_rules_of_every_system(text: str) -> None:
    assert escapes(text)


@pytest.mark.parametrize("text", ["a.png", "a/b.png", "a..b/c..png", "./a.png"])
def test_ordinary_paths_are_no_escapes(text: str) -> None:
    assert not escapes(text)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["file,label", "deep/0.png,a"], "unknown column 'file'; known: path, label, client, split"),
        (["path,lable", "deep/0.png,a"], r"unknown column 'lable'; did you mean 'label'\?"),
        (["label", "a"], "no column 'path' among label"),
        ([""], "no column 'path' among none"),
        (["path,path", "a,b"], "a column is named twice: path, path"),
        (["path,split", "deep/0.png,test"], "line 2: split 'test' is neither train nor held-out"),
        (["path,split", "deep/0.png,held-out"], "line 2: a held-out image needs a label"),
        (["path", "deep/0.png", "deep/0.png"], r"line 3: deep/0\.png is named twice"),
        (["path,label,split", "deep/0.png,a,train", "deep/1.png,a,held-out"], "1 classes have rows in both splits: a"),
        (["path"], "0 of 0 images cannot be used; none is named"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused_by_line(
    lines: list[str], message: str, root: Path, allocate: Allocate
) -> None:
    write(root, *lines)
    with pytest.raises(DataError, match=message):
        Folder(root).read(8, allocate)


def test_a_missing_manifest_and_one_outside_are_refused(root: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as a CSV manifest"):
        Folder(root, layout="manifest").key()
    with pytest.raises(DataError, match=r"data\.manifest = '\.\./m\.csv' must lie inside"):
        Folder(root, layout="manifest", manifest="../m.csv").key()


def test_bytes_that_are_no_text_are_refused(root: Path) -> None:
    (root / "manifest.csv").write_bytes(b"path\n\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read as a CSV manifest"):
        Folder(root).key()


def test_the_key_changes_with_the_manifests_text_alone(root: Path) -> None:
    write(root, "path,label", "deep/0.png,a")
    before = Folder(root).key()
    write(root, "path,label", "deep/0.png,b")
    assert Folder(root).key() != before
