"""What the rules have in common that look at all updates of a round side by side, to bear some that are made to harm.

Memory: the server holds every update of the round until it ends, where FedAvg holds one sum; and for one tensor at a
time, a few float64 copies of what all clients sent.

Every client counts the same: how many images it has trained on is what a client says of itself, and a liar would buy
weight with it. Honest clients whose data is unlike that of the others are outvoted as attackers are.

What is not protected. Integers, such as BatchNorm's counters, take the largest, as in `WeightedMean`; they steer
nothing under a fixed momentum. Running statistics are no trained parameters: rules that go by distance do not see
them, and federation.norm = "recalibrate" averages them after the rule, by the numbers of images that clients report.
The same holds for targets under federation.target = "aggregate". Where clients are not trusted, use group_norm, which
has no statistics, and targets that stay at the client.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from fedmetric.arrays import Arrays
from fedmetric.errors import ConfigError
from fedmetric.federation.average import as_types
from fedmetric.federation.base import FederationRule, RuleContext, State, Total, Update
from fedmetric.federation.robust import check_finite


class CollectingRule(FederationRule):
    """Collect a round's updates, then combine them all at once.

    Attributes:
        pools: whether the running variances can be those of the mixture of all clients (federation.norm = "pooled").
    """

    pools: ClassVar[bool] = False

    def __init__(self, context: RuleContext) -> None:
        """Refuse a norm policy that asks for means where there are none.

        Raises:
            ConfigError: variances are to be pooled, and the rule takes every coordinate by itself.
        """
        super().__init__(context)
        if context.pooled and not self.pools:
            raise ConfigError(
                f"federation.norm = 'pooled' needs means over clients, and federation.rule {type(self).__name__} takes "
                "every value of means and variances by itself; set federation.norm to 'average' or 'group_norm'"
            )

    @abstractmethod
    def combine(self, updates: Sequence[Arrays]) -> Arrays:
        """Return the new weights, floats in float64, of N >= 1 updates in the order of clients."""

    def weight(self, update: Update) -> float:
        """Count every client alike; see `FederationRule.weight`."""
        return 1.0

    def fold(self, total: Total, update: Update) -> None:
        """Set the update aside; see `FederationRule.fold`.

        Raises:
            ProtocolError: it has values that are not finite; names the client.
        """
        check_finite(update.arrays, update.client)
        total.collected[update.client] = update.arrays

    def finish(self, state: State, shared: Arrays, total: Total) -> tuple[State, Arrays]:
        """Combine what was collected; a round without updates keeps the weights; see `FederationRule.finish`."""
        if not total.collected:
            return state, total.weights.result(shared)
        updates = [total.collected[client] for client in sorted(total.collected)]
        return state, as_types(self.combine(updates), shared)
