"""P classes times K images: batches in which every image has companions of its class.

Hermans, Beyer, Leibe, In Defense of the Triplet Loss for Person Re-Identification, 2017, section 2 (the PK batches).

Differences: made for clients that hold few classes, or classes of a single image. A class of fewer than K images gives
what it has and the next class fills the gap; where all classes together give less than a batch, they give again.
Images without a label keep their share of each batch. Nothing is repeated within a batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fedmetric.options import Count
from fedmetric.registry import samplers
from fedmetric.sampling.base import UNLABELLED, Sampler


class Carousel:
    """Items in random order, and in another one when all have been taken."""

    def __init__(self, items: np.ndarray, generator: np.random.Generator) -> None:
        self._items, self._generator = items, generator
        self._waiting: list[int] = []

    def take(self, count: int, taken: set[int]) -> list[int]:
        """Return up to `count` items that are not in `taken`, each once, and those longest not seen first."""
        found: list[int] = []
        passed: list[int] = []
        for _ in range(len(self._items) + len(self._waiting)):
            if len(found) == count:
                break
            if not self._waiting:
                self._waiting = self._generator.permutation(self._items).tolist()
            item = self._waiting.pop()
            (passed if item in taken or item in found or item in passed else found).append(item)
        self._waiting += reversed(passed)
        return found


@samplers.register("balanced")
class Balanced(Sampler):
    """Fill each batch with `per_class` images of as many classes as fit (P x K); every class comes equally often."""

    def __init__(self, *, per_class: Count = 4) -> None:
        """Set K.

        Args:
            per_class: images of a class in a batch, K; classes that have fewer give all they have.
        """
        self.per_class = per_class

    def epoch(self, labels: np.ndarray, size: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Take classes in turn and, of each, images in turn; see `Sampler.epoch`."""
        classes = [label for label in np.unique(labels).tolist() if label != UNLABELLED]
        images = {label: Carousel(np.flatnonzero(labels == label), generator) for label in classes}
        without = Carousel(np.flatnonzero(labels == UNLABELLED), generator)
        count = int(np.count_nonzero(labels == UNLABELLED)) * size  # a batch has count / N of them on average
        in_turn = Carousel(np.array(classes, np.int64), generator)
        for number in range(len(labels) // size):
            batch = without.take(count * (number + 1) // len(labels) - count * number // len(labels), set())
            yield np.array(batch + self._labelled(images, in_turn, size - len(batch)), np.int64)

    def _labelled(self, images: dict[int, Carousel], in_turn: Carousel, size: int) -> list[int]:
        batch: list[int] = []
        seen: set[int] = set()
        while len(batch) < size:
            if not (chosen := in_turn.take(1, seen)):  # all classes have given: they give again
                seen.clear()
                continue
            seen.add(chosen[0])
            batch += images[chosen[0]].take(min(self.per_class, size - len(batch)), set(batch))
        return batch
