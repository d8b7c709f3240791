"""FedEMA.

Zhuang, Wen, Zhang, Divergence-aware Federated Self-Supervised Learning, ICLR 2022, equations 1 to 4: a client starts
from mu W_k + (1 - mu) W_g, with mu = min(lambda_k D_k, 1) and lambda_k = tau / D_k at its first measurement.

The paper's D_k is the distance between the server's encoder and the client's ("to_global"); the authors' framework uses
the mean distance that the convolutions moved in the client's last round ("local_drift").
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.federation.base import FederationRule, LocalRound, Memory, RuleContext
from fedmetric.federation.drift import distance, kept, layer_drift
from fedmetric.options import NonNegative
from fedmetric.registry import rules

ONLINE, DRIFT, LAMBDA = "online.", "drift", "lambda"


@rules.register("fedema")
class FedEMA(FederationRule):
    """Start each client from a mix of its own network and the server's, the more its own the further they are apart."""

    requires = ("predictor",)
    remembers = True

    def __init__(
        self,
        context: RuleContext,
        *,
        tau: NonNegative = 0.7,
        divergence: Literal["to_global", "local_drift"] = "to_global",
    ) -> None:
        """Set the mix.

        Args:
            context: what the network is.
            tau: share of the client's own weights when its divergence is that of its first measurement; 0 is FedAvg.
            divergence: "to_global" for the distance to the server's weights, "local_drift" for that of the last round.
        """
        super().__init__(context)
        self.tau, self.divergence = tau, divergence

    def receive(self, shared: Arrays, extra: Arrays, memory: Memory) -> Arrays:
        """Mix; the first participation takes everything from the server; see `FederationRule.receive`."""
        own = kept(memory, ONLINE)
        if not own:
            return shared
        divergence = self._divergence(shared, own, memory)
        if divergence == 0:
            return shared  # nothing to measure lambda_k by, and nothing to mix
        if LAMBDA not in memory:
            memory[LAMBDA] = np.array(self.tau / divergence)
        mu = min(float(memory[LAMBDA]) * divergence, 1.0)
        if mu == 0:
            return shared
        return {name: _mixed(mu, own[name], array) for name, array in shared.items()}

    def _divergence(self, shared: Arrays, own: Arrays, memory: Memory) -> float:
        if self.divergence == "local_drift":
            return float(memory[DRIFT])
        encoder = [name for name in self.layout.outside("predictor") if name in self.layout.parameters]
        return distance(shared, own, [name for name in encoder if name in shared])

    def send(self, before: Arrays, after: Arrays, now: LocalRound) -> tuple[Arrays, Arrays]:
        """Remember the client's network and how far it moved; see `FederationRule.send`."""
        now.memory[DRIFT] = np.array(layer_drift(before, after, self.layout.convolutions))
        now.memory |= {f"{ONLINE}{name}": array for name, array in after.items()}
        return after, {}


def _mixed(mu: float, own: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    if not np.issubdtype(theirs.dtype, np.floating):
        return theirs
    return np.asarray(mu * own.astype(np.float64) + (1 - mu) * theirs.astype(np.float64), dtype=theirs.dtype)
