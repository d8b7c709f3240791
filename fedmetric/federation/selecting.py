"""What the rules have in common that select updates by their distances, and bear a stated number of attackers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from fedmetric.arrays import Arrays
from fedmetric.errors import ConfigError, TooFewClientsError
from fedmetric.federation.base import RuleContext
from fedmetric.federation.collecting import CollectingRule
from fedmetric.federation.robust import Rows, squared_distances, trained


class SelectingRule(CollectingRule):
    """Select updates by their distances over the trained parameters.

    Attributes:
        times: updates that a round must have for each that may be malicious, beside 3. A round in which none may be
            (f = 0) goes with any number: there is nothing to bear.
    """

    times: ClassVar[int]

    def __init__(self, context: RuleContext, malicious: int) -> None:
        """Refuse more attackers than the federation can outvote.

        Args:
            context: what the network is, and how many clients there are.
            malicious: f, clients of a round that may send anything.

        Raises:
            ConfigError: the federation has too few clients for any round to be large enough.
        """
        super().__init__(context)
        self.malicious = malicious
        self.needed = self.times * malicious + 3 if malicious else 1
        if context.num_clients < self.needed:
            raise ConfigError(
                f"federation.rule.malicious={malicious} needs {self.times} * {malicious} + 3 = {self.needed} clients "
                f"or more, but the partition has {context.num_clients}; lower it, or make more clients"
            )

    @abstractmethod
    def select(self, updates: Sequence[Arrays], distances: Rows) -> Arrays:
        """Return what `combine` does, given the (N, N) squared distances between the updates."""

    def combine(self, updates: Sequence[Arrays]) -> Arrays:
        """Check the number of updates, and select; see `CollectingRule.combine`.

        Raises:
            TooFewClientsError: shows how many came and how many are needed.
        """
        if len(updates) < self.needed:
            raise TooFewClientsError(
                f"{len(updates)} updates came in this round, but federation.rule.malicious={self.malicious} needs "
                f"{self.times} * {self.malicious} + 3 = {self.needed} or more; lower it, or raise "
                "federation.clients_per_round so that enough are left when clients fail"
            )
        return self.select(updates, squared_distances(updates, trained(self.layout, updates[0])))
