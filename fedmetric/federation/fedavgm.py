"""FedAvgM.

Hsu, Qi, Brown, Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification,
arXiv:1909.06335, 2019, section 4.3: v <- beta v + delta, w <- w + lr v.
"""

from __future__ import annotations

from fedmetric.arrays import Arrays
from fedmetric.federation.base import RuleContext, State
from fedmetric.federation.server_optimiser import ServerOptimiser, moment, named
from fedmetric.options import Fraction, Positive
from fedmetric.registry import rules


@rules.register("fedavgm")
class FedAvgM(ServerOptimiser):
    """Give the server momentum: the mean change of earlier rounds goes on."""

    def __init__(self, context: RuleContext, *, momentum: Fraction = 0.9, lr: Positive = 1.0) -> None:
        """Set the server's optimiser.

        Args:
            context: what the network is.
            momentum: share of the velocity that stays; 0 with lr 1 is FedAvg.
            lr: the server's learning rate; under a constant change the step grows to lr / (1 - momentum) times it.
        """
        super().__init__(context)
        self.momentum, self.lr = momentum, lr

    def step(self, state: State, delta: Arrays) -> tuple[State, Arrays]:
        """Add the change to the velocity; see `ServerOptimiser.step`."""
        before = moment(state, "velocity", delta)
        velocity = {name: self.momentum * before[name] + change for name, change in delta.items()}
        return named("velocity", velocity), {name: self.lr * value for name, value in velocity.items()}
