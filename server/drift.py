"""How far the clients of a round moved, and whether in one direction, without keeping their weights."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from fedmetric.arrays import Arrays


class Drift:
    """Fold the clients' moves one by one.

    The mean cosine over all pairs of n unit vectors with sum s is (|s|^2 - n) / (n (n - 1)), so only the sum is kept.
    """

    def __init__(self, start: Arrays, names: Collection[str]) -> None:
        """Start a round.

        Args:
            start: the server's weights.
            names: the trained parameters among them.
        """
        self._start = {name: array for name, array in start.items() if name in names}
        self._sum: NDArray[np.float64] | None = None
        self._norms: list[float] = []
        self._moved = 0

    @property
    def moves(self) -> list[float]:
        """The L2 distance that each client moved."""
        return self._norms

    def move_of(self, arrays: Arrays) -> NDArray[np.float64]:
        """Return a client's trained parameters after its local training less those before, flat; empty without any."""
        parts = [(arrays[name] - first).ravel() for name, first in self._start.items()]
        return np.concatenate(parts).astype(np.float64) if parts else np.zeros(0)

    def fold(self, move: NDArray[np.float64]) -> None:
        """Add one client's move; see `move_of`."""
        if not len(move):
            return
        norm = float(np.sqrt(move @ move))
        self._norms.append(norm)
        if norm > 0:
            self._moved += 1
            self._sum = move / norm if self._sum is None else self._sum + move / norm

    def result(self) -> dict[str, float]:
        """Return "drift", the mean distance moved, and "drift_cosine", the mean cosine between two clients' moves."""
        found = {"drift": float(np.mean(self._norms))} if self._norms else {}
        if self._moved > 1 and self._sum is not None:
            pairs = self._moved * (self._moved - 1)
            found["drift_cosine"] = (float(self._sum @ self._sum) - self._moved) / pairs
        return found
