"""Cosine distance: 1 - cos(x, y), half the squared Euclidean distance of the unit vectors, from 0 to 2."""

from __future__ import annotations

from torch import Tensor

from fedmetric.distances.base import PairDistance
from fedmetric.registry import distances


@distances.register("cosine")
class Cosine(PairDistance):
    """Take 1 minus the cosine similarity."""

    geometry = "cosine"

    def compare(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Return 1 - q g, and 0 where rounding makes it negative; see `PairDistance.compare`."""
        return (1 - queries @ gallery.mT).clamp(min=0)
