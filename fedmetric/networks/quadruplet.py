"""The quadruplet network.

Chen, Chen, Zhang, Huang, Beyond Triplet Loss: A Deep Quadruplet Network for Person Re-Identification, CVPR 2017.
"""

from __future__ import annotations

from torch import Tensor

from fedmetric.networks.base import SharedEncoder


class QuadrupletNetwork(SharedEncoder):
    """Compare an anchor with a positive and with a negative, and this with a second negative of a third class."""

    def forward(
        self, anchor: Tensor, positive: Tensor, negative: Tensor, second_negative: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return d(a, p), d(a, n1) and d(n1, n2) of inputs (N, ...) each, row by row: (N,) float each."""
        a, p, n1, n2 = self.embed(anchor, positive, negative, second_negative)
        between = self.distance.between
        return between(a, p), between(a, n1), between(n1, n2)
