"""Every image once an epoch, in a new order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fedmetric.registry import samplers
from fedmetric.sampling.base import Sampler


@samplers.register("shuffled")
class Shuffled(Sampler):
    """Visit the images in a new order each epoch; the last incomplete batch is left out."""

    def epoch(self, labels: np.ndarray, size: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Cut a permutation into batches; see `Sampler.epoch`."""
        order = generator.permutation(len(labels))
        for start in range(0, len(order) - size + 1, size):
            yield order[start : start + size]
