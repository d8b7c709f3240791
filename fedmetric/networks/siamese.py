"""The siamese network.

Bromley, Guyon, LeCun, Säckinger, Shah, Signature Verification using a "Siamese" Time Delay Neural Network, NIPS 1993.
"""

from __future__ import annotations

from torch import Tensor

from fedmetric.networks.base import SharedEncoder


class SiameseNetwork(SharedEncoder):
    """Compare pairs of inputs."""

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Compare inputs row by row: (N, ...) and (N, ...) to distances (N,) float."""
        return self.distance.between(*self.embed(first, second))

    def matrix(self, inputs: Tensor) -> Tensor:
        """Compare every input with every other: (N, ...) to distances (N, N) float, each input encoded once."""
        (embeddings,) = self.embed(inputs)
        found: Tensor = self.distance(embeddings, embeddings)
        return found
