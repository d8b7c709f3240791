"""CIFAR-10: 60,000 natural 32x32 colour images of 10 classes.

Krizhevsky, Learning Multiple Layers of Features from Tiny Images, technical report, University of Toronto, 2009.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedmetric.data.base import Allocate, Dataset, Images, ImageSet, Labels, Skipped, Source
from fedmetric.data.cifar_batches import read_batch
from fedmetric.data.decode import IMAGE_ENDINGS, decode_files
from fedmetric.data.download import download_or_explain
from fedmetric.data.listing import listing_key
from fedmetric.data.resize import resize_into
from fedmetric.errors import ConfigError, DataError
from fedmetric.registry import nearest, sources

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCHES = "cifar-10-batches-py"
TREES = ("cifar10-jpeg", "cifar10", ".")
BATCH_FILES = {"train": tuple(f"data_batch_{number}" for number in range(1, 6)), "held_out": ("test_batch",)}
TREE_FOLDERS = {"train": "train", "held_out": "test"}


@sources.register("cifar10")
class Cifar10(Source):
    """Read `cifar-10-batches-py`, or train/CLASS/*.jpg and test/CLASS/*.jpg in ROOT/cifar10-jpeg, ROOT/cifar10 or ROOT.

    The pickled batches are read by an unpickler that admits arrays only. Trees of re-compressed images are not the
    original pixels: figures from them are not comparable digit by digit with published ones. There are no natural
    groups.
    """

    def __init__(self, root: Path | None, *, held_out: tuple[str, ...] = ("frog", "horse", "ship", "truck")) -> None:
        """Choose the classes that nobody trains on.

        Args:
            root: the folder of the user's data sets.
            held_out: classes kept from every client; their images of the test set are evaluated.

        Raises:
            ConfigError: `held_out` is empty, names every class, or names an unknown one.
        """
        super().__init__(root)
        for name in held_out:
            if name not in CLASSES:
                raise ConfigError(
                    f"data.held_out: cifar10 has no class {name!r}{nearest(name, list(CLASSES))}; "
                    f"classes: {', '.join(CLASSES)}"
                )
        if not 0 < len(set(held_out)) < len(CLASSES):
            raise ConfigError(
                f"data.held_out names {len(set(held_out))} classes of cifar10; name 1 to {len(CLASSES) - 1}"
            )
        self.wanted = {
            "train": [name for name in CLASSES if name not in held_out],
            "held_out": [name for name in CLASSES if name in held_out],
        }

    def _find(self) -> Path | None:
        root = self.require_root("cifar10")
        batches = [name for names in BATCH_FILES.values() for name in names]
        if all((root / BATCHES / name).is_file() for name in batches):
            return root / BATCHES
        trees = (root / tree for tree in TREES)
        return next((t for t in trees if all((t / f / CLASSES[0]).is_dir() for f in TREE_FOLDERS.values())), None)

    def _place(self) -> Path:
        if (found := self._find()) is None:
            root = self.require_root("cifar10")
            looked = [root / BATCHES, *(root / tree / "{train,test}" / "CLASS" for tree in TREES)]
            download_or_explain("cifar10", root, looked)
            found = self._find()
        if found is None:
            raise DataError(f"cifar10: files are still missing in {self.root} after the download")
        return found

    def _files(self, place: Path, split: str) -> list[Path]:
        if place.name == BATCHES:
            return [place / name for name in BATCH_FILES[split]]
        folders = (place / TREE_FOLDERS[split] / name for name in self.wanted[split])
        return [p for f in folders for p in sorted(f.glob("*")) if p.suffix.lower() in IMAGE_ENDINGS and p.is_file()]

    def key(self) -> str:
        """Describe the files; see `Source.key`."""
        place = self._place()
        return listing_key(place, [path for split in BATCH_FILES for path in self._files(place, split)])

    def read(self, image_size: int, allocate: Allocate) -> Dataset:
        """Read training classes from the train files and held-out classes from the test files; see `Source.read`."""
        place = self._place()
        reader = self._read_batches if place.name == BATCHES else self._read_tree
        sets: dict[str, ImageSet] = {}
        skipped: list[Skipped] = []
        for split, classes in self.wanted.items():
            images, labels, bad = reader(place, split, image_size, allocate)
            skipped += bad
            sets[split] = ImageSet("cifar10", images, labels, tuple(classes))
        return Dataset(sets["train"], sets["held_out"], tuple(skipped), (f"read from {place.name}",))

    def _read_batches(
        self, place: Path, split: str, image_size: int, allocate: Allocate
    ) -> tuple[Images, Labels, list[Skipped]]:
        batches = [read_batch(path) for path in self._files(place, split)]
        labels = np.concatenate([labels for _, labels in batches])
        wanted = [CLASSES.index(name) for name in self.wanted[split]]
        where = np.flatnonzero(np.isin(labels, wanted))
        images = allocate(split, (len(where), image_size, image_size, 3))
        resize_into(np.concatenate([pixels for pixels, _ in batches])[where], images)
        return images, np.searchsorted(wanted, labels[where]).astype(np.int64), []

    def _read_tree(
        self, place: Path, split: str, image_size: int, allocate: Allocate
    ) -> tuple[Images, Labels, list[Skipped]]:
        paths = self._files(place, split)
        images = allocate(split, (len(paths), image_size, image_size, 3))
        kept, skipped = decode_files(paths, place, image_size, 3, images)
        labels = [self.wanted[split].index(paths[index].parent.name) for index in kept]
        return images[: len(kept)], np.asarray(labels, dtype=np.int64), skipped
