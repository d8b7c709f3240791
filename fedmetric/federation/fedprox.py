"""FedProx.

Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, Federated Optimization in Heterogeneous Networks, MLSys 2020, equation
2: clients minimise F_k(w) + mu/2 ||w - w_t||^2. The server averages as FedAvg does.
"""

from __future__ import annotations

from fedmetric.federation.base import FederationRule, LocalRound, RuleContext
from fedmetric.options import NonNegative
from fedmetric.registry import rules


@rules.register("fedprox")
class FedProx(FederationRule):
    """Pull every client's weights towards the server's during local training."""

    def __init__(self, context: RuleContext, *, mu: NonNegative = 0.01) -> None:
        """Set the strength of the pull.

        Args:
            context: what the network is.
            mu: weight of the proximal term; 0 is FedAvg, and ever larger values keep clients at the server's weights.
        """
        super().__init__(context)
        self.mu = mu

    def correct(self, now: LocalRound) -> None:
        """Add the gradient of the proximal term, mu (w - w_t); see `FederationRule.correct`."""
        if not self.mu:
            return  # adding 0 would still turn a gradient of -0 into +0
        for name, parameter in now.parameters.items():
            if parameter.grad is not None and name in now.received:
                parameter.grad.add_(parameter.detach() - now.received[name], alpha=self.mu)
