"""CIFAR-10 from pickled batches, which must not run code, and from folders of images."""

from __future__ import annotations

import os
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmetric.data.base import Allocate
from fedmetric.data.cifar_batches import read_batch
from fedmetric.data.sources.cifar10 import CLASSES, Cifar10
from fedmetric.errors import ConfigError, DataError

Write = Callable[..., Path]


def batch(count: int = 10, value: int = 0) -> dict[str, Any]:
    """Return a batch with red = value + i, green = 100, blue = 200 and label i % 10."""
    data = np.empty((count, 3, 1024), dtype=np.uint8)
    data[:, 0] = (value + np.arange(count))[:, None]
    data[:, 1], data[:, 2] = 100, 200
    return {"data": data.reshape(count, 3072), "labels": [i % 10 for i in range(count)]}


def write_batches(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number in range(1, 6):
        (folder / f"data_batch_{number}").write_bytes(pickle.dumps(batch(value=10 * number), protocol=2))
    (folder / "test_batch").write_bytes(pickle.dumps(batch(value=90), protocol=2))


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_batches_of_every_old_protocol_are_read(protocol: int, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(pickle.dumps(batch(), protocol=protocol))
    images, labels = read_batch(tmp_path / "b")
    assert images.shape == (10, 32, 32, 3)
    assert images[7, 31, 0].tolist() == [7, 100, 200]
    assert labels.tolist() == list(range(10))


def test_both_module_names_of_numpy_are_admitted(tmp_path: Path) -> None:
    text = pickle.dumps(batch(), protocol=2)
    names = {b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"}
    (current,) = [name for name in names if name in text]
    (other,) = names - {current}
    (tmp_path / "b").write_bytes(text.replace(current, other))
    assert len(read_batch(tmp_path / "b")[0]) == 10


class Malicious:
    """Its pickle asks to create a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    text = pickle.dumps({**batch(), "x": Malicious(tmp_path / "pwned")}, protocol=2)
    assert any(op.name == "GLOBAL" and argument.endswith("mkdir") for op, argument, _ in pickletools.genops(text))
    (tmp_path / "b").write_bytes(text)
    with pytest.raises(DataError, match=r"refused as a CIFAR-10 batch: it asks for \w+\.mkdir, which no array needs"):
        read_batch(tmp_path / "b")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "name", [b"cbuiltins\neval\n", b"cnumpy\nload\n", b"cnumpy\nfromfile\n", b"c_codecs\ndecode\n"]
)
def test_even_numpys_and_the_codecs_own_functions_are_refused(name: bytes, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"\x80\x02" + name + b".")
    with pytest.raises(DataError, match="which no array needs"):
        read_batch(tmp_path / "b")


def test_codecs_other_than_latin1_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"c_codecs\nencode\n(VAA\nVrot13\ntR.")
    with pytest.raises(DataError, match="encoding 'rot13' is not admitted"):
        read_batch(tmp_path / "b")


def test_persistent_references_are_refused(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"Psomewhere\n.")
    with pytest.raises(DataError, match="refers to objects outside the file"):
        read_batch(tmp_path / "b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "no 'data' and 'labels' inside"),
        ({"data": np.zeros((2, 5), np.uint8), "labels": [0, 0]}, r"'data' must be \(N, 3072\) uint8, not \(2, 5\)"),
        ({"data": "text", "labels": []}, "'data' must be .* not str"),
        ({**batch(2), "labels": [1]}, r"2 images but labels of shape \(1,\)"),
        ({**batch(2), "labels": [1, 10]}, r"labels must lie in 0\.\.9"),
    ],
)
def test_a_pickle_of_something_else_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match=message):
        read_batch(tmp_path / "b")


def test_a_truncated_pickle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(pickle.dumps(batch(), protocol=2)[:5000])
    with pytest.raises(DataError, match="refused as a CIFAR-10 batch"):
        read_batch(tmp_path / "b")


def test_batches_are_split_by_class_into_train_and_held_out(tmp_path: Path, allocate: Allocate) -> None:
    write_batches(tmp_path)
    dataset = Cifar10(tmp_path).read(32, allocate)
    assert dataset.train.classes == CLASSES[:6]
    assert dataset.train.images[:, 0, 0, 0].tolist() == [10 * b + i for b in range(1, 6) for i in range(6)]
    assert dataset.held_out.classes == ("frog", "horse", "ship", "truck")
    assert dataset.held_out.images[:, 0, 0, 0].tolist() == [96, 97, 98, 99]
    assert dataset.notes == ("read from cifar-10-batches-py",)


@pytest.mark.parametrize("folder", ["cifar10-jpeg", "cifar10", "."])
def test_a_tree_of_images_is_read_in_the_same_order_of_classes(
    folder: str, tmp_path: Path, allocate: Allocate, write_image: Write
) -> None:
    for split in ("train", "test"):
        for number, name in enumerate(CLASSES):
            write_image(tmp_path / folder / split / name / "0000.png", 10 * number + (split == "test"), "RGB", 32)
    source = Cifar10(tmp_path, held_out=("airplane", "cat"))
    dataset = source.read(16, allocate)
    assert dataset.train.images[:, 0, 0, 0].tolist() == [10, 20, 40, 50, 60, 70, 80, 90]
    assert dataset.train.labels.tolist() == list(range(8))
    assert dataset.held_out.images[:, 0, 0, 1].tolist() == [1, 31]
    assert dataset.held_out.channels == 3
    assert len(source.key()) == 64


def test_a_missing_set_names_the_places_and_the_flag(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cifar-10-batches-py, .*cifar10-jpeg.*--allow-download"):
        Cifar10(tmp_path).key()


def test_held_out_classes_must_exist_and_leave_some() -> None:
    with pytest.raises(ConfigError, match=r"cifar10 has no class 'hors'; did you mean 'horse'\?"):
        Cifar10(None, held_out=("hors",))
    with pytest.raises(ConfigError, match="names 10 classes of cifar10; name 1 to 9"):
        Cifar10(None, held_out=CLASSES)
