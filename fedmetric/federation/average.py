"""A weighted mean of updates that is folded one update at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmetric.arrays import Arrays


class WeightedMean:
    """Sum weighted arrays in float64, so that memory does not grow with the number of clients.

    Sums depend on their order: fold clients in a fixed one. Integer arrays, such as BatchNorm's count of batches,
    take the maximum: a mean of counters counts nothing. The mean of one update is that update, bit for bit, for
    arrays of at most 32 bits.
    """

    def __init__(self, pooled: Mapping[str, str] | None = None) -> None:
        """Start empty.

        Args:
            pooled: names of means, and of the variances that belong to them: the result is the variance of the
                mixture, E[var + mean^2] - E[mean]^2, in place of E[var].
        """
        self.weight = 0.0
        self._sums: Arrays = {}
        self._pooled = dict(pooled or {})

    def fold(self, arrays: Mapping[str, NDArray[Any]], weight: float) -> None:
        """Add one client's arrays with a weight above 0."""
        if not weight > 0:
            raise ValueError(f"the weight of an update must be above 0, not {weight}")
        second_moments = {
            variance: arrays[variance].astype(np.float64) + arrays[mean].astype(np.float64) ** 2
            for mean, variance in self._pooled.items()
            if mean in arrays
        }
        for name, array in {**arrays, **second_moments}.items():
            if not np.issubdtype(array.dtype, np.floating):
                self._sums[name] = np.asarray(np.maximum(self._sums[name], array)) if self.weight else array.copy()
            elif self.weight:
                self._sums[name] += array.astype(np.float64) * weight
            else:
                self._sums[name] = array.astype(np.float64) * weight
        self.weight += weight

    def mean(self) -> Arrays:
        """Return the mean: floats in float64, integers as they came; nothing when nothing was folded."""
        means = {
            name: total / self.weight if np.issubdtype(total.dtype, np.floating) else total.copy()
            for name, total in self._sums.items()
        }
        for mean, variance in self._pooled.items():
            if mean in means:
                means[variance] = np.maximum(means[variance] - means[mean] ** 2, 0.0)
        return means

    def result(self, like: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return the mean in the dtypes of `like`; with nothing folded, copies of `like`."""
        return as_types(self.mean(), like) if self.weight else {name: array.copy() for name, array in like.items()}


def as_types(arrays: Mapping[str, NDArray[Any]], like: Mapping[str, NDArray[Any]]) -> Arrays:
    """Cast arrays to the dtypes of those of the same name."""
    return {name: np.asarray(array, dtype=like[name].dtype) for name, array in arrays.items()}
