"""What one client keeps between rounds: typed, bound to a data partition, stored as named arrays.

It is never sent as such. A rule may upload what it derives from it, tensors that a client keeps may also go up (FedBN's
norm layers), and a simulation puts every client's state into the checkpoints of the one machine it runs on.

Random generators are not in here: every random choice is a function of (seed, purpose, round, client, step), so there
is no generator whose state could be lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.errors import ProtocolError

CLIENT, LAST_ROUND = "client", "last-round"
PARTS = ("own", "rule", "optimiser")


@dataclass
class ClientState:
    """A client's own state.

    Attributes:
        client: index of the data partition that it belongs to, whatever node holds the partition.
        last_round: round of the last participation; 0 before the first.
        own: tensors of the network that stay here: private groups, momentum target, queue, local heads.
        rule: what the federation rule remembers, such as a control variate or lambda_k.
        optimiser: moments of the local optimiser, where they are kept.
    """

    client: int
    last_round: int = 0
    own: Arrays = field(default_factory=dict)
    rule: Arrays = field(default_factory=dict)
    optimiser: Arrays = field(default_factory=dict)

    def to_arrays(self) -> Arrays:
        """Write the state as named arrays, such as "own.objective.queue.bank"."""
        heads = {CLIENT: np.array(self.client, np.int64), LAST_ROUND: np.array(self.last_round, np.int64)}
        return heads | {f"{part}.{name}": array for part in PARTS for name, array in getattr(self, part).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], client: int) -> ClientState:
        """Read what `to_arrays` wrote; no arrays are the state before the first participation.

        Raises:
            ProtocolError: the state belongs to another partition, or holds names that no state has.
        """
        state = cls(client)
        for name, array in arrays.items():
            part, _, rest = name.partition(".")
            if part in PARTS and rest:
                getattr(state, part)[rest] = array
            elif name == LAST_ROUND:
                state.last_round = int(array)
            elif name == CLIENT and int(array) != client:
                raise ProtocolError(f"this state belongs to partition {int(array)}, not to {client}")
            elif name != CLIENT:
                raise ProtocolError(f"the state of client {client} holds '{name}', which no client state has")
        return state

    def fresh(self, round: int, max_staleness: int) -> ClientState:
        """Return this state, or an empty one when it is too old for this round or newer than it.

        Args:
            round: server round from 1.
            max_staleness: rounds since the last participation after which the state is forgotten; 0 keeps it.
        """
        from_the_future = self.last_round >= round
        too_old = max_staleness > 0 and self.last_round > 0 and round - self.last_round > max_staleness
        return ClientState(self.client) if from_the_future or too_old else self
