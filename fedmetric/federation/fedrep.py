"""FedRep.

Collins, Hassani, Mokhtari, Shakkottai, Exploiting Shared Representations for Personalized Federated Learning, ICML
2021, algorithm 1: the local heads are trained first, with the backbone fixed, then the backbone with the heads fixed.

Difference: the phases divide the steps of the round, not its epochs, so that rounds of one epoch have both.
"""

from __future__ import annotations

from fedmetric.federation.base import LocalRound, RuleContext
from fedmetric.federation.fedper import FedPer
from fedmetric.options import Fraction
from fedmetric.registry import rules


@rules.register("fedrep")
class FedRep(FedPer):
    """Average the backbone; train local heads first and the backbone after them."""

    shares = "backbone weights"

    def __init__(self, context: RuleContext, *, head_share: Fraction = 0.5) -> None:
        """Divide the round.

        Args:
            context: what the network is.
            head_share: share of the round's steps that train the heads alone; 0 trains the backbone alone.
        """
        super().__init__(context)
        self.head_share = head_share

    def correct(self, now: LocalRound) -> None:
        """Drop the gradients of the part whose turn it is not; see `FederationRule.correct`."""
        heads_turn = now.steps < self.head_share * now.num_steps
        for name, parameter in now.parameters.items():
            if (self.layout.groups[name] == "backbone") == heads_turn:
                parameter.grad = None
