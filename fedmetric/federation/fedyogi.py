"""FedYogi.

Reddi et al., Adaptive Federated Optimization, ICLR 2021, algorithm 2: as FedAdam, with
v <- v - (1 - b2) delta^2 sign(v - delta^2), so that the second moment falls no faster than it rises.
"""

from __future__ import annotations

import numpy as np

from fedmetric.federation.base import RuleContext
from fedmetric.federation.fedadam import FedAdam
from fedmetric.options import Fraction, Positive
from fedmetric.registry import rules


@rules.register("fedyogi")
class FedYogi(FedAdam):
    """Make the server's step that of Yogi on the clients' mean change."""

    def __init__(
        self,
        context: RuleContext,
        *,
        lr: Positive = 0.01,
        beta1: Fraction = 0.9,
        beta2: Fraction = 0.99,
        tau: Positive = 1e-3,
    ) -> None:
        """Set the server's optimiser.

        Args:
            context: what the network is.
            lr: the server's learning rate: no weight moves much further than this in a round.
            beta1: share of the first moment that stays.
            beta2: 1 minus this is how fast the second moment follows.
            tau: adaptivity: larger values bring the step nearer to that of the plain mean.
        """
        super().__init__(context, lr=lr, beta1=beta1, beta2=beta2, tau=tau)

    def second(self, before: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Return the new second moment of one tensor."""
        squared = change**2
        return np.asarray(before - (1 - self.beta2) * squared * np.sign(before - squared))
