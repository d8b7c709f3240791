"""FedU.

Zhuang, Gan, Wen, Zhang, Yi, Collaborative Unsupervised Visual Representation Learning from Decentralized Data, ICCV
2021, section 3.3 (divergence-aware predictor update): a client takes the server's predictor only if its last local
training moved the encoder little.
"""

from __future__ import annotations

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.federation.base import FederationRule, LocalRound, Memory, RuleContext
from fedmetric.federation.drift import kept, layer_drift
from fedmetric.options import NonNegative
from fedmetric.registry import rules

PREDICTOR, DRIFT = "predictor.", "drift"


@rules.register("fedu")
class FedU(FederationRule):
    """Take the server's encoder always, its predictor only while the client drifts little."""

    requires = ("predictor",)
    remembers = True

    def __init__(self, context: RuleContext, *, threshold: NonNegative = 0.4) -> None:
        """Set the gate.

        Args:
            context: what the network is.
            threshold: the predictor is replaced when the mean distance that the backbone's convolutions moved in the
                client's last round is below this; 0 keeps it local after the first round, ever larger ones are FedAvg.
        """
        super().__init__(context)
        self.threshold = threshold

    def receive(self, shared: Arrays, extra: Arrays, memory: Memory) -> Arrays:
        """Open or close the gate; see `FederationRule.receive`."""
        if DRIFT not in memory or float(memory[DRIFT]) < self.threshold:
            return shared
        own = kept(memory, PREDICTOR)
        return {name: own.get(name, array) for name, array in shared.items()}

    def send(self, before: Arrays, after: Arrays, now: LocalRound) -> tuple[Arrays, Arrays]:
        """Remember the predictor and how far the encoder moved; see `FederationRule.send`."""
        now.memory[DRIFT] = np.array(layer_drift(before, after, self.layout.convolutions))
        now.memory |= {f"{PREDICTOR}{name}": after[name] for name in self.layout.of("predictor")}
        return after, {}
