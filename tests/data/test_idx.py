"""The idx reader, and the two sources that use it."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedmetric.data.base import Allocate, Source
from fedmetric.data.idx import read_idx
from fedmetric.data.sources.idx import FashionMnist, Mnist
from fedmetric.errors import ConfigError, DataError


def idx_bytes(values: NDArray[np.uint8]) -> bytes:
    """Write the format by hand: two zeros, 8 for unsigned bytes, the number of axes, the sizes, the values."""
    return bytes((0, 0, 8, values.ndim)) + b"".join(size.to_bytes(4, "big") for size in values.shape) + values.tobytes()


def write_set(root: Path, folder: str = "MNIST", zipped: bool = False) -> None:
    """Write 20 train and 10 test images; image i of class i % 10 has the value i."""
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for split, count in (("train", 20), ("t10k", 10)):
        images = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, 28, 28)).copy()
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx_bytes(values)
            name = f"{split}-{kind}-ubyte" + (".gz" if zipped else "")
            (raw / name).write_bytes(gzip.compress(content) if zipped else content)


@pytest.mark.parametrize("zipped", [False, True])
def test_what_was_written_is_read_back(zipped: bool, tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    content = idx_bytes(values)
    (tmp_path / "a").write_bytes(gzip.compress(content) if zipped else content)
    assert np.array_equal(read_idx(tmp_path / "a", 3), values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing, not 00000801"),
        (b"\x00\x00\x08\x03" + bytes(12), "starts with 00000803, not 00000801: no idx file of 1 axes"),
        (b"\x00\x00\x08\x01\x00", "ends inside its header"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x05abc", r"holds 3 bytes, but its header \(5,\) asks for 5"),
        (b"\x00\x00\x08\x01\x00\x00\x00\x02abc", "holds more bytes"),
        (b"\x1f\x8b\x00nonsense", "cannot be read"),
    ],
)
def test_a_broken_file_is_refused_and_the_error_says_what_is_wrong(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / "a", 1)


def test_a_header_that_claims_too_much_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x00\x00\x08\x03" + b"\xff" * 12)
    with pytest.raises(DataError, match="more than 4,294,967,296"):
        read_idx(tmp_path / "a", 3)


@pytest.mark.parametrize("zipped", [False, True])
def test_trained_classes_come_from_the_train_file_and_held_out_ones_from_the_test_file(
    zipped: bool, tmp_path: Path, allocate: Allocate
) -> None:
    write_set(tmp_path, zipped=zipped)
    dataset = Mnist(tmp_path, held_out=(0, 9)).read(28, allocate)
    assert dataset.train.images[:, 0, 0, 0].tolist() == [*range(1, 9), *range(11, 19)]
    assert dataset.train.classes == tuple(f"digit {i}" for i in range(1, 9))
    assert dataset.train.labels.tolist() == [*range(8), *range(8)]
    assert dataset.held_out.images[:, 0, 0, 0].tolist() == [0, 9]
    assert dataset.held_out.classes == ("digit 0", "digit 9")


def test_images_are_resized(tmp_path: Path, allocate: Allocate) -> None:
    write_set(tmp_path, "FashionMNIST")
    dataset = FashionMnist(tmp_path).read(14, allocate)
    assert dataset.train.images.shape == (12, 14, 14, 1)
    assert dataset.train.images[-1, 5, 5, 0] == 15
    assert dataset.held_out.classes == ("Shirt", "Sneaker", "Bag", "Ankle boot")


@pytest.mark.parametrize("source", [Mnist, FashionMnist])
def test_a_missing_set_says_where_it_was_looked_for(source: type[Source], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not found; looked for .*MNIST.raw.*--allow-download"):
        source(tmp_path).key()


def test_no_data_folder_at_all_says_how_to_name_one() -> None:
    with pytest.raises(DataError, match="mnist needs a data folder; give --data DIR or set FEDMETRIC_DATA"):
        Mnist(None).key()


def test_images_and_labels_of_different_number_are_refused(tmp_path: Path, allocate: Allocate) -> None:
    write_set(tmp_path)
    (tmp_path / "MNIST/raw/train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(3, np.uint8)))
    with pytest.raises(DataError, match="has 20 images but 3 labels"):
        Mnist(tmp_path).read(28, allocate)


def test_a_label_above_nine_is_refused(tmp_path: Path, allocate: Allocate) -> None:
    write_set(tmp_path)
    (tmp_path / "MNIST/raw/train-labels-idx1-ubyte").write_bytes(idx_bytes(np.full(20, 12, np.uint8)))
    with pytest.raises(DataError, match="has a label 12, above 9"):
        Mnist(tmp_path).read(28, allocate)


@pytest.mark.parametrize("held_out", [(), tuple(range(10)), (10,), (-1,)])
def test_held_out_digits_must_leave_some_and_exist(held_out: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must name 1 to 9 of the classes 0\.\.9 of mnist"):
        Mnist(tmp_path, held_out=held_out)


def test_the_key_changes_with_the_files(tmp_path: Path) -> None:
    write_set(tmp_path)
    before = Mnist(tmp_path).key()
    assert Mnist(tmp_path).key() == before
    file = tmp_path / "MNIST/raw/train-labels-idx1-ubyte"
    file.write_bytes(file.read_bytes() + b"x")
    assert Mnist(tmp_path).key() != before
