"""A network that compares inputs with learned proxies, one for each class.

Movshovitz-Attias, Toshev, Leung, Ioffe, Singh, No Fuss Distance Metric Learning using Proxies, ICCV 2017.
"""

from __future__ import annotations

from torch import Tensor, nn

from fedmetric.distances.base import PairDistance
from fedmetric.networks.base import SharedEncoder


class ProxyNetwork(SharedEncoder):
    """Compare inputs with one row for each class instead of with one another."""

    def __init__(self, encoder: nn.Module, distance: PairDistance, proxies: Tensor) -> None:
        """Take over an encoder and a distance, and start from given proxies.

        Args:
            encoder: see `SharedEncoder`.
            distance: between embeddings.
            proxies: (C, D) float, copied into a parameter.
        """
        super().__init__(encoder, distance)
        self.proxies = nn.Parameter(proxies.detach().clone())

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the distance of every input to every proxy: (N, ...) to (N, C) float."""
        (embeddings,) = self.embed(inputs)
        found: Tensor = self.distance(embeddings, self.proxies)
        return found
