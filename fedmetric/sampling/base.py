"""Which of a client's images make up each batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np

UNLABELLED = -1


class Sampler(ABC):
    """Deals a client's images out into batches, one epoch at a time.

    Subclasses take keyword-only options. An epoch is always floor(N / B) batches of B different images, so that
    samplers can be compared at equal work; whether an image comes back within the epoch is the sampler's choice.
    """

    @abstractmethod
    def epoch(self, labels: np.ndarray, size: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield the batches of one epoch.

        Args:
            labels: (N,) int64 class of each of the client's images, -1 for an image without a label.
            size: images in a batch, B; at most N.
            generator: draws every choice of the epoch.

        Yields:
            floor(N / B) times (B,) int64 indices, all different within a batch.
        """
