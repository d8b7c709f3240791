"""What a partitioner must offer, and the steps that several share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedmetric.data.base import ImageSet
from fedmetric.errors import ConfigError

Indices = NDArray[np.int64]
LABEL_FREE = "iid, quantity-skew or natural"


class Partitioner(ABC):
    """Decides which client holds which training image."""

    @abstractmethod
    def __call__(self, images: ImageSet, generator: np.random.Generator) -> list[Indices]:
        """Divide the images of a set.

        Args:
            images: the training images.
            generator: the only source of randomness; an equal one gives an equal partition.

        Returns:
            One sorted (n,) int64 array of image indices for each client; every image is in exactly one.

        Raises:
            ConfigError: the set cannot be divided as asked.
        """


def require_labels(images: ImageSet, partitioner: str) -> None:
    """Refuse a set in which some image has no label.

    Raises:
        ConfigError: names partitioners that need no labels.
    """
    missing = int(np.sum(images.labels < 0))
    if missing:
        raise ConfigError(
            f"partition '{partitioner}' divides by label, but {missing} of {len(images)} images of {images.name} "
            f"have none; use {LABEL_FREE}"
        )


def gather(pieces: Sequence[Sequence[Indices]]) -> list[Indices]:
    """Join the pieces that each client was dealt into one sorted array a client."""
    return [np.sort(np.concatenate([np.empty(0, dtype=np.int64), *own])).astype(np.int64) for own in pieces]


def check_partition(parts: Sequence[Indices], count: int) -> None:
    """Assert that every client's indices are sorted and that each of `count` images is with exactly one client."""
    for client, part in enumerate(parts):
        assert part.dtype == np.int64, f"client {client}: indices are {part.dtype}"
        assert part.ndim == 1, f"client {client}: indices have shape {part.shape}"
        assert bool(np.all(np.diff(part) > 0)), f"client {client}: indices are not sorted, or repeat"
    together = np.sort(np.concatenate([np.empty(0, dtype=np.int64), *parts]))
    assert np.array_equal(together, np.arange(count)), f"{len(together)} indices do not cover {count} images once each"
