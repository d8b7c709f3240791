"""FedAdam.

Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan, Adaptive Federated Optimization, ICLR 2021, algorithm
2: m <- b1 m + (1 - b1) delta, v <- b2 v + (1 - b2) delta^2, w <- w + lr m / (sqrt(v) + tau), v starting at tau^2; no
correction of the bias.
"""

from __future__ import annotations

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.federation.base import RuleContext, State
from fedmetric.federation.server_optimiser import ServerOptimiser, moment, named
from fedmetric.options import Fraction, Positive
from fedmetric.registry import rules


@rules.register("fedadam")
class FedAdam(ServerOptimiser):
    """Make the server's step that of Adam on the clients' mean change."""

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
            lr: the server's learning rate: no weight moves further than about this in a round.
            beta1: share of the first moment that stays.
            beta2: share of the second moment that stays.
            tau: adaptivity; with lr = 2 tau, beta1 = 0, beta2 = 1 and ever larger values it is FedAvg.
        """
        super().__init__(context)
        self.lr, self.beta1, self.beta2, self.tau = lr, beta1, beta2, tau

    def second(self, before: np.ndarray, change: np.ndarray) -> np.ndarray:
        """Return the new second moment of one tensor."""
        return np.asarray(self.beta2 * before + (1 - self.beta2) * change**2)

    def step(self, state: State, delta: Arrays) -> tuple[State, Arrays]:
        """Update both moments; see `ServerOptimiser.step`."""
        firsts, seconds = moment(state, "first", delta), moment(state, "second", delta, self.tau**2)
        first = {name: self.beta1 * firsts[name] + (1 - self.beta1) * change for name, change in delta.items()}
        second = {name: self.second(seconds[name], change) for name, change in delta.items()}
        moves = {name: self.lr * first[name] / (np.sqrt(second[name]) + self.tau) for name in delta}
        return named("first", first) | named("second", second), moves
