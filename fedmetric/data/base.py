"""Image sets, the split into training and held-out classes, and what a data source must offer."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmetric.errors import DataError

UNLABELLED = -1
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]
Allocate = Callable[[str, tuple[int, int, int, int]], Images]


@dataclass(frozen=True)
class Grouping:
    """A natural way to divide images among clients, such as by alphabet: `names[codes[i]]` is the group of image i."""

    codes: Labels
    names: tuple[str, ...]


@dataclass(frozen=True)
class ImageSet:
    """Images with their classes and groupings.

    Attributes:
        name: the data set's name.
        images: (N, H, W, C) uint8, often a read-only memory map; for drawings, ink is 255.
        labels: (N,) int64 indices into `classes`; -1 for an image without a label.
        classes: one name for each class, unique over the whole data set, such as "Greek/character03".
        groupings: named ways to divide the images; the first is the source's natural one.
    """

    name: str
    images: Images
    labels: Labels
    classes: tuple[str, ...]
    groupings: Mapping[str, Grouping] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise DataError(
                f"{self.name}: images must be (N, H, W, C) uint8, not {self.images.shape} {self.images.dtype}"
            )
        if self.labels.shape != (len(self.images),) or self.labels.dtype != np.int64:
            raise DataError(
                f"{self.name}: labels must be ({len(self.images)},) int64, not {self.labels.shape} {self.labels.dtype}"
            )
        if len(self.labels) and not (self.labels.min() >= UNLABELLED and self.labels.max() < len(self.classes)):
            raise DataError(f"{self.name}: labels must lie in -1..{len(self.classes) - 1}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def channels(self) -> int:
        """Channels of the images, 1 or 3."""
        return int(self.images.shape[3])

    def subset(self, indices: NDArray[np.int64]) -> ImageSet:
        """Copy the images at these indices, in this order; classes keep their indices."""
        groupings = {key: Grouping(value.codes[indices], value.names) for key, value in self.groupings.items()}
        return ImageSet(self.name, self.images[indices], self.labels[indices], self.classes, groupings)

    def present_classes(self) -> tuple[str, ...]:
        """Return the names of the classes that have at least one image."""
        return tuple(self.classes[index] for index in np.unique(self.labels[self.labels >= 0]))


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why."""

    path: str
    reason: str


def first_reasons(skipped: Sequence[Skipped]) -> str:
    """Name the first three of the files that were left out, and why; nothing where there are none."""
    return "; ".join(f"{item.path}: {item.reason}" for item in skipped[:3])


@dataclass(frozen=True)
class Dataset:
    """Images to learn from and images of classes that nobody trains on.

    Attributes:
        train: what the clients hold.
        held_out: what the central evaluator holds; its classes are not among the training classes.
        skipped: files that could not be used.
        notes: what the source understood of the files it found, one sentence each.
    """

    train: ImageSet
    held_out: ImageSet
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_disjoint(self.train.present_classes(), self.held_out.present_classes(), self.train.name)


class Source(ABC):
    """A place that images come from.

    Subclasses take `root` (the folder under which the user keeps data sets, or None), then keyword-only options.

    Attributes:
        inverts: whether files of dark ink on white are read as white ink on black, always.
    """

    inverts: bool = False

    def __init__(self, root: Path | None) -> None:
        self.root = root

    @abstractmethod
    def key(self) -> str:
        """Return a text that differs whenever `read` would give other images; cheap: it looks at names, sizes and
        times only.

        Raises:
            DataError: the files are not there; the message says where they were looked for and how to name the folder.
        """

    @abstractmethod
    def read(self, image_size: int, allocate: Allocate) -> Dataset:
        """Decode everything, resized to (image_size, image_size).

        Args:
            image_size: side in pixels.
            allocate: `allocate("train", (N, H, W, C))` returns a zeroed uint8 array on disk to fill, so that a set
                larger than memory can be decoded; call it once with "train" and once with "held_out".
        """

    def require_root(self, what: str) -> Path:
        """Return the data folder.

        Raises:
            DataError: none was given.
        """
        if self.root is None:
            raise DataError(f"{what} needs a data folder; give --data DIR or set FEDMETRIC_DATA")
        return self.root


def class_hash(name: str) -> str:
    """Return the first 16 hex digits of the sha256 of a class name: what travels with a checkpoint in its place."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def check_disjoint(trained: Sequence[str], evaluated: Sequence[str], name: str) -> None:
    """Refuse class names that are both trained on and evaluated.

    Raises:
        DataError: names the classes that overlap.
    """
    overlap = sorted(set(trained) & set(evaluated))
    if overlap:
        shown = ", ".join(overlap[:5]) + (", ..." if len(overlap) > 5 else "")
        raise DataError(
            f"{name}: {len(overlap)} held-out classes are also trained on: {shown}; held-out classes must be unseen"
        )


def check_images_disjoint(trained: ImageSet, evaluated: ImageSet, name: str) -> None:
    """Refuse images that are evaluated and, under whatever name, also trained on; images of one colour do not count.

    Raises:
        DataError: names a class that they belong to on either side.
    """
    known = {_digest(image): row for row, image in enumerate(evaluated.images) if image.min() < image.max()}
    found = [(row, known[mark]) for row, image in enumerate(trained.images) if (mark := _digest(image)) in known]
    if found:
        row, other = found[0]
        raise DataError(
            f"{name}: {len(found)} held-out images are also trained on, such as one of {_class_of(evaluated, other)}, "
            f"here of {_class_of(trained, row)}; held-out classes must be unseen"
        )


def _digest(image: NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _class_of(images: ImageSet, row: int) -> str:
    label = int(images.labels[row])
    return "no class" if label == UNLABELLED else f"class '{images.classes[label]}'"


def check_unseen(trained_hashes: Sequence[str], evaluated: Sequence[str], name: str) -> None:
    """Refuse to evaluate a model on classes whose hashes travel with it.

    Raises:
        DataError: names the classes that the model was trained on.
    """
    known = set(trained_hashes)
    overlap = sorted(label for label in set(evaluated) if class_hash(label) in known)
    if overlap:
        shown = ", ".join(overlap[:5]) + (", ..." if len(overlap) > 5 else "")
        raise DataError(f"{name}: the model was trained on {len(overlap)} of the evaluated classes: {shown}")
