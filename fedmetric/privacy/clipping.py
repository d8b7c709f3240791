"""Clip and sum the moves of clients: pure functions over named arrays, in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmetric.arrays import Arrays
from fedmetric.errors import ProtocolError

Floats = Mapping[str, NDArray[Any]]


def move_of(before: Floats, after: Floats, names: Sequence[str]) -> Arrays:
    """Return after - before for these tensors, float64.

    Raises:
        ProtocolError: a value is not finite; names the first tensor. A norm of NaN would pass every bound.
    """
    found = {name: after[name].astype(np.float64) - before[name].astype(np.float64) for name in names}
    for name, array in found.items():
        if not np.isfinite(array).all():
            raise ProtocolError(f"{name} has {int((~np.isfinite(array)).sum())} values that are not finite")
    return found


def flat_norm(move: Floats) -> float:
    """Return the L2 norm of all tensors together, as one vector; the largest value is taken out, so none overflows."""
    largest = max((float(np.abs(array).max()) for array in move.values() if array.size), default=0.0)
    if largest == 0.0:
        return 0.0
    return largest * float(np.sqrt(sum(float(np.sum((array / largest) ** 2)) for array in move.values())))


def clipped(move: Arrays, clip: float) -> Arrays:
    """Return the move scaled to a norm of at most `clip`; within it, and a move of 0, as it came."""
    norm = flat_norm(move)
    return move if norm <= clip else {name: array * (clip / norm) for name, array in move.items()}


def noise_like(shapes: Floats, deviation: float, generator: np.random.Generator) -> Arrays:
    """Draw independent Gaussian noise with this standard deviation for each tensor, float64, in the order of names."""
    if deviation == 0:
        return {name: np.zeros(array.shape) for name, array in shapes.items()}
    return {name: generator.normal(0.0, deviation, array.shape) for name, array in shapes.items()}
