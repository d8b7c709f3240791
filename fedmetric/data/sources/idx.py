"""MNIST and Fashion-MNIST: 28x28 grey images in idx files, as torchvision lays them out.

LeCun, Cortes, Burges, The MNIST database of handwritten digits, 1998. Xiao, Rasul, Vollgraf, Fashion-MNIST: a Novel
Image Dataset for Benchmarking Machine Learning Algorithms, arXiv:1708.07747, 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedmetric.data.base import Allocate, Dataset, ImageSet, Source
from fedmetric.data.download import download_or_explain
from fedmetric.data.idx import read_idx
from fedmetric.data.listing import listing_key
from fedmetric.data.resize import resize_into
from fedmetric.errors import ConfigError, DataError
from fedmetric.registry import sources

FILES = {"train": "train", "held_out": "t10k"}
GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


class IdxSource(Source):
    """Train on some classes of the train file and evaluate the others from the test file."""

    def __init__(
        self, root: Path | None, name: str, folder: str, classes: Sequence[str], held_out: Sequence[int]
    ) -> None:
        super().__init__(root)
        self.name = name
        self.folder = folder
        self.classes = tuple(classes)
        self.held_out = sorted(set(held_out))
        if not (self.held_out and set(self.held_out) < set(range(len(classes)))):
            raise ConfigError(f"data.held_out = {list(held_out)} must name 1 to 9 of the classes 0..9 of {name}")

    def _find(self) -> list[Path]:
        place = self.require_root(self.name) / self.folder / "raw"
        names = [f"{split}-{kind}-ubyte" for split in FILES.values() for kind in ("images-idx3", "labels-idx1")]
        found = [next((p for p in (place / n, place / f"{n}.gz") if p.is_file()), None) for n in names]
        return [path for path in found if path is not None]

    def _files(self) -> list[Path]:
        """Return train images, train labels, test images, test labels, downloaded if that is allowed."""
        if len(files := self._find()) < 4:
            root = self.require_root(self.name)
            download_or_explain(self.name, root, [root / self.folder / "raw" / "{train,t10k}-*-ubyte[.gz]"])
            if len(files := self._find()) < 4:
                raise DataError(
                    f"{self.name}: files are still missing in {root / self.folder / 'raw'} after the download"
                )
        return files

    def key(self) -> str:
        """Describe the four files; see `Source.key`."""
        return listing_key(self.require_root(self.name), self._files())

    def read(self, image_size: int, allocate: Allocate) -> Dataset:
        """Read both files and keep the classes of each split; see `Source.read`."""
        files = self._files()
        sets: dict[str, ImageSet] = {}
        trained = [index for index in range(len(self.classes)) if index not in self.held_out]
        for number, (split, wanted) in enumerate((("train", trained), ("held_out", self.held_out))):
            pixels, labels = read_idx(files[2 * number], 3), read_idx(files[2 * number + 1], 1)
            if len(pixels) != len(labels):
                raise DataError(
                    f"{self.name}: {files[2 * number].name} has {len(pixels)} images but {len(labels)} labels"
                )
            if len(labels) and labels.max() >= len(self.classes):
                raise DataError(f"{self.name}: {files[2 * number + 1].name} has a label {labels.max()}, above 9")
            where = np.flatnonzero(np.isin(labels, wanted))
            images = allocate(split, (len(where), image_size, image_size, 1))
            resize_into(pixels[where][..., None], images)
            codes = np.searchsorted(wanted, labels[where]).astype(np.int64)
            sets[split] = ImageSet(self.name, images, codes, tuple(self.classes[index] for index in wanted))
        return Dataset(sets["train"], sets["held_out"])


@sources.register("mnist")
class Mnist(IdxSource):
    """Handwritten digits in ROOT/MNIST/raw, 60,000 + 10,000; raw pixels already find neighbours: read mAP and EER."""

    def __init__(self, root: Path | None, *, held_out: tuple[int, ...] = (6, 7, 8, 9)) -> None:
        """Choose the digits that nobody trains on.

        Args:
            root: the folder of the user's data sets.
            held_out: digits kept from every client; their images of the test file are evaluated.

        Raises:
            ConfigError: `held_out` is empty, names every class, or names one outside 0..9.
        """
        super().__init__(root, "mnist", "MNIST", [f"digit {number}" for number in range(10)], held_out)


@sources.register("fashion-mnist")
class FashionMnist(IdxSource):
    """Clothes in ROOT/FashionMNIST/raw: 60,000 and 10,000 images of 10 kinds."""

    def __init__(self, root: Path | None, *, held_out: tuple[int, ...] = (6, 7, 8, 9)) -> None:
        """Choose the garments that nobody trains on.

        Args:
            root: the folder of the user's data sets.
            held_out: class numbers kept from every client: 0 T-shirt/top, 1 Trouser, 2 Pullover, 3 Dress, 4 Coat, 5
                Sandal, 6 Shirt, 7 Sneaker, 8 Bag, 9 Ankle boot; their images of the test file are evaluated.

        Raises:
            ConfigError: `held_out` is empty, names every class, or names one outside 0..9.
        """
        super().__init__(root, "fashion-mnist", "FashionMNIST", GARMENTS, held_out)
