"""The real data sets where they are unpacked: counts, classes and clients as published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedmetric.data.cache import load_dataset
from fedmetric.data.decode import decode_image
from fedmetric.data.heldout import training_and_validation
from fedmetric.data.partition import partition
from fedmetric.registry import partitioners, sources


def need(root: Path, folder: str) -> Path:
    if not (root / folder).is_dir():
        pytest.skip(f"{folder} is not in the data folder")
    return root / folder


@pytest.mark.parametrize(
    ("name", "folder", "train", "held_out"),
    [("mnist", "MNIST", 36017, 3969), ("fashion-mnist", "FashionMNIST", 36000, 4000)],
)
def test_mnist_and_fashion_mnist_have_their_published_counts(
    name: str, folder: str, train: int, held_out: int, real_data: Path
) -> None:
    """MNIST: train digits 0..5 are 5923+6742+5958+6131+5842+5421, test digits 6..9 are 958+1028+974+1009."""
    need(real_data, folder)
    dataset = load_dataset(sources[name].options(), 28, root=real_data)
    assert (len(dataset.train), len(dataset.held_out)) == (train, held_out)
    assert (len(dataset.train.classes), len(dataset.held_out.classes)) == (6, 4)


def test_mnist_equals_what_torchvision_reads(real_data: Path) -> None:
    need(real_data, "MNIST")
    datasets = pytest.importorskip("torchvision.datasets")
    oracle = datasets.MNIST(str(real_data), train=False, download=False)
    dataset = load_dataset(sources["mnist"].options(), 28, root=real_data)
    targets = oracle.targets.numpy()
    assert np.array_equal(dataset.held_out.images[..., 0], oracle.data.numpy()[targets >= 6])
    assert np.array_equal(dataset.held_out.labels + 6, targets[targets >= 6])


def test_the_cifar10_tree_is_split_and_its_pixels_are_those_of_the_files(real_data: Path) -> None:
    """Hold out nine classes, so that the test decodes 14,000 files instead of 34,000."""
    tree = need(real_data, "cifar10-jpeg")
    held_out = ("automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    dataset = load_dataset(sources["cifar10"].options(held_out=held_out), 32, root=real_data)
    assert (len(dataset.train), len(dataset.held_out)) == (5000, 9000)
    assert dataset.notes == ("read from cifar10-jpeg",)
    file = tree / "test" / "truck" / "0999.jpg"
    assert np.array_equal(dataset.held_out.images[-1], decode_image(file, 32, 3))


def test_omniglot_gives_its_alphabets_and_drawers_as_clients(real_data: Path) -> None:
    need(real_data, "omniglot-py")
    dataset = load_dataset(sources["omniglot"].options(), 28, root=real_data)
    assert (len(dataset.train), len(dataset.train.classes)) == (19280, 964)
    assert (len(dataset.held_out), len(dataset.held_out.classes)) == (13180, 659)
    natural = partitioners["natural"]
    assert len(partition(natural.options(), dataset.train, seed=1)) == 30
    assert len(partition(natural.options(by="drawer"), dataset.train, seed=1)) == 600
    train, validation = training_and_validation(dataset, 0.2, "drawer", seed=1)
    assert len(np.unique(validation.groupings["alphabet"].codes)) == 6
    assert len(np.unique(train.groupings["alphabet"].codes)) == 24


def test_faces_are_a_folder_of_classes(real_data: Path) -> None:
    need(real_data, "orl-faces")
    dataset = load_dataset(sources["folder"].options(path="orl-faces", held_out_share=0.5), 32, root=real_data)
    assert (len(dataset.train), len(dataset.held_out)) == (200, 200)
    assert dataset.train.channels == 1
    assert dataset.notes[0].startswith("400 images, 40 classes, layout class/image, grey; held out: s")
