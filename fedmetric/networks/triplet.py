"""The triplet network.

Hoffer, Ailon, Deep Metric Learning Using Triplet Network, SIMBAD 2015.
"""

from __future__ import annotations

from torch import Tensor

from fedmetric.networks.base import SharedEncoder


class TripletNetwork(SharedEncoder):
    """Compare an anchor with a positive and with a negative."""

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
        """Return d(a, p) and d(a, n) of inputs (N, ...) each, row by row: (N,) float each."""
        a, p, n = self.embed(anchor, positive, negative)
        return self.distance.between(a, p), self.distance.between(a, n)
