"""FedPer.

Arivazhagan, Aggarwal, Singh, Choudhary, Federated Learning with Personalization Layers, arXiv:1912.00818, 2019,
algorithms 1 and 2, with the backbone as base layers and all heads of the objective as personalisation layers.
"""

from __future__ import annotations

from collections.abc import Collection

from fedmetric.federation.base import FederationRule
from fedmetric.registry import rules


@rules.register("fedper")
class FedPer(FederationRule):
    """Average the backbone; every head stays at its client."""

    shares = "backbone weights"

    def local(self) -> Collection[str]:
        """List the tensors of all heads; see `FederationRule.local`."""
        return self.layout.outside("backbone")
