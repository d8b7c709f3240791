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

    def __init__(self) -> None:
        self.weight = 0.0
        self._sums: Arrays = {}

    def fold(self, arrays: Mapping[str, NDArray[Any]], weight: float) -> None:
        """Add one client's arrays with a weight above 0."""
        if not weight > 0:
            raise ValueError(f"the weight of an update must be above 0, not {weight}")
        for name, array in arrays.items():
            if not np.issubdtype(array.dtype, np.floating):
                self._sums[name] = np.asarray(np.maximum(self._sums[name], array)) if self.weight else array.copy()
            elif self.weight:
                self._sums[name] += array.astype(np.float64) * weight
            else:
                self._sums[name] = array.astype(np.float64) * weight
        self.weight += weight

    def result(self, like: Mapping[str, NDArray[Any]]) -> Arrays:
        """Return the mean in the dtypes of `like`; with nothing folded, copies of `like`."""
        if not self.weight:
            return {name: array.copy() for name, array in like.items()}
        return {
            name: np.asarray(
                total / self.weight if np.issubdtype(like[name].dtype, np.floating) else total, dtype=like[name].dtype
            )
            for name, total in self._sums.items()
        }
