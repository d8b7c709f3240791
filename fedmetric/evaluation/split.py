"""The seeded half-and-half split of held-out images that classifiers on frozen embeddings learn and are tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedmetric.data.base import Labels
from fedmetric.seeds import numpy_generator


@dataclass(frozen=True)
class Split:
    """Rows to learn from and rows to test on; every class stands on both sides.

    Attributes:
        train: (M,) int64 row indices, ascending.
        test: (T,) int64 row indices, ascending.
        skipped: images of classes that have no other image.
    """

    train: Labels
    test: Labels
    skipped: int


def stratified_halves(labels: Labels, seed: int) -> Split:
    """Split each class in half at random; a class of odd size trains on the larger half.

    Args:
        labels: (N,) int64 ids.
        seed: of the experiment; every encoder is given the same split.
    """
    if not len(labels):
        return Split(np.zeros(0, np.int64), np.zeros(0, np.int64), 0)
    shuffled = np.lexsort((numpy_generator(seed, "transfer split").random(len(labels)), labels))
    _, starts, inverse, counts = np.unique(labels[shuffled], return_index=True, return_inverse=True, return_counts=True)
    place, size = np.arange(len(labels)) - starts[inverse], counts[inverse]
    trains = (place < (size + 1) // 2) & (size > 1)
    tests = (place >= (size + 1) // 2) & (size > 1)
    return Split(np.sort(shuffled[trains]), np.sort(shuffled[tests]), int((size == 1).sum()))
