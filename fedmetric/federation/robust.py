"""What a few wrong updates among many cannot move far: pure functions of the updates of one round.

All is computed in float64. Distances are sums of squared differences, not products of matrices: BLAS would split
those over threads, and next to a huge update the differences between the others would be lost in rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmetric.arrays import Arrays
from fedmetric.errors import ProtocolError
from fedmetric.layout import Layout

Rows = NDArray[np.float64]


def trained(layout: Layout, arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    """List the trained float parameters among arrays, in the network's order."""
    names = (name for name in layout.groups if name in layout.parameters and name in arrays)
    return [name for name in names if np.issubdtype(arrays[name].dtype, np.floating)]


def check_finite(arrays: Mapping[str, NDArray[Any]], client: int) -> None:
    """Refuse an update with NaN or infinite values: a sort or a comparison would let them through unseen.

    Raises:
        ProtocolError: names the client, and the first array with such values.
    """
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            wrong = int((~np.isfinite(array)).sum())
            raise ProtocolError(f"client {client} sent {name} with {wrong} values that are not finite")


def mean(rows: Rows) -> Rows:
    """Return the mean over the first axis, added up in its order; that of one row is the row, bit for bit.

    Args:
        rows: (N, ...) float64, N >= 1.
    """
    total = rows[0]
    for row in rows[1:]:
        total = total + row
    return np.asarray(total / len(rows))


def trimmed_mean(rows: Rows, count: int) -> Rows:
    """Return the mean of every coordinate without its `count` smallest and `count` largest values.

    Args:
        rows: (N, ...) float64.
        count: values to drop at each end, less than N / 2.
    """
    return mean(np.sort(rows, axis=0)[count : len(rows) - count])


def median(rows: Rows) -> Rows:
    """Return the median of every coordinate over the first axis; of an even number, the mean of the middle two.

    Args:
        rows: (N, ...) float64, N >= 1.
    """
    return trimmed_mean(rows, (len(rows) - 1) // 2)


def mean_around_median(rows: Rows, count: int) -> Rows:
    """Return the mean of the `count` values of every coordinate that are closest to its median.

    Of two values equally far, the smaller counts as the closer.

    Args:
        rows: (N, ...) float64.
        count: values to average, 1 to N.
    """
    ordered = np.sort(rows, axis=0)
    closest = np.argsort(np.abs(ordered - median(rows)), axis=0, kind="stable")[:count]
    return mean(np.take_along_axis(ordered, closest, axis=0))


def coordinate_wise(updates: Sequence[Arrays], estimate: Callable[[Rows], Rows]) -> Arrays:
    """Estimate every float coordinate from its values in all updates; of integers take the largest.

    Args:
        updates: N >= 1, of the same names and shapes.
        estimate: makes (...) of (N, ...) float64; gets one tensor at a time.
    """
    found: Arrays = {}
    for name, first in updates[0].items():
        rows = np.stack([update[name] for update in updates])
        floating = np.issubdtype(first.dtype, np.floating)
        found[name] = estimate(rows.astype(np.float64)) if floating else np.asarray(rows.max(axis=0))
    return found


def squared_distances(updates: Sequence[Arrays], names: Sequence[str]) -> Rows:
    """Return the squared Euclidean distances between all updates over these tensors, (N, N) float64; 0 without any."""
    distances = np.zeros((len(updates), len(updates)))
    for name in names:
        rows = np.stack([update[name].ravel() for update in updates]).astype(np.float64)
        for one in range(len(rows) - 1):
            distances[one, one + 1 :] += np.sum((rows[one + 1 :] - rows[one]) ** 2, axis=1)
    return distances + distances.T
