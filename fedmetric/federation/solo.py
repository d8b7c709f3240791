"""Every client alone: the floor that a federation has to beat."""

from __future__ import annotations

from collections.abc import Collection

from fedmetric.federation.base import FederationRule
from fedmetric.registry import rules


@rules.register("solo")
class Solo(FederationRule):
    """Train every client alone; nothing is shared, and each client's own network is evaluated."""

    personal = True
    shares = "nothing"

    def local(self) -> Collection[str]:
        """List every tensor; see `FederationRule.local`."""
        return tuple(self.layout.groups)
