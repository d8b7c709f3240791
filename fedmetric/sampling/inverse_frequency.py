"""Rare classes as often as frequent ones, by weighted drawing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fedmetric.registry import samplers
from fedmetric.sampling.base import UNLABELLED, Sampler


@samplers.register("inverse-frequency")
class InverseFrequency(Sampler):
    """Draw each image with a chance of one over the size of its class, so that rare classes are seen as often."""

    def epoch(self, labels: np.ndarray, size: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Draw each batch anew, without repetition within it; see `Sampler.epoch`.

        An image without a label weighs what labelled images weigh on average, so that their share stays.
        """
        _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
        weights = 1.0 / counts[inverse]
        labelled = labels != UNLABELLED
        if labelled.any():
            weights[~labelled] = weights[labelled].mean()
        for _ in range(len(labels) // size):
            yield generator.choice(len(labels), size, replace=False, p=weights / weights.sum())
