"""Euclidean distance of the unit vectors, from 0 to 2: sqrt(2 - 2 cos)."""

from __future__ import annotations

from torch import Tensor

from fedmetric.distances.base import PairDistance, euclidean
from fedmetric.registry import distances


@distances.register("euclidean")
class Euclidean(PairDistance):
    """Take the length of the difference of the unit vectors."""

    geometry = "euclidean"

    def compare(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Return |q - g|; see `PairDistance.compare`."""
        return euclidean(queries, gallery)
