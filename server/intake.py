"""What comes in during one round: each reply is checked, counted and folded into the rule's total, then let go."""

from __future__ import annotations

import numpy as np

from fedmetric.arrays import Arrays, num_bytes
from fedmetric.config import Experiment
from fedmetric.errors import ProtocolError
from fedmetric.federation.base import FederationRule, State, Update
from fedmetric.server.drift import Drift
from fedmetric.server.standing import Standing, check_bounds
from fedmetric.wire import ClientFailure

CLIENT_DIAGNOSTICS = ("std", "rank", "uniformity", "alignment")


class Intake:
    """The replies of one round.

    Attributes:
        total: the rule's.
        drift: how the clients moved.
        replied: clients whose reply counts.
        losses: mean local loss of those that say it.
        failures: of the others.
        reported: diagnostics of every client whose reply counts, by name.
        examples: images trained on.
        shrunk: clients that had fewer images than a batch.
        bytes_up: weights received, in bytes.
    """

    def __init__(
        self,
        rule: FederationRule,
        experiment: Experiment,
        round: int,
        shared: Arrays,
        state: State,
        drift: Drift,
        standing: Standing,
    ) -> None:
        """Begin a round.

        Args:
            rule: whose total is made.
            experiment: of the run.
            round: server round from 1.
            shared: the weights that the round starts from.
            state: the rule's, before the round.
            drift: empty.
            standing: of the clients, before the round.
        """
        self._rule, self._round, self._shared, self._standing = rule, round, shared, standing
        self._accept, self._batch_size = experiment.federation.accept, experiment.local.batch_size
        self.total, self.drift = rule.begin(shared, state), drift
        self.replied = 0
        self.losses: list[float] = []
        self.failures: list[ClientFailure] = []
        self.reported: dict[str, list[float]] = {}
        self.examples = self.shrunk = self.bytes_up = 0

    def take(self, reply: Update | ClientFailure) -> None:
        """Count a reply, or why there is none; a refused one leaves no trace but its reason."""
        if isinstance(reply, ClientFailure):
            self.failures.append(reply)
            return
        try:
            self._rule.check_extra(reply.extra, self._shared)
            move = self.drift.move_of(reply.arrays)
            check_bounds(reply, float(np.sqrt(move @ move)), self._accept, self._standing)
            self._rule.fold(self.total, reply)
        except ProtocolError as error:
            self.failures.append(ClientFailure(reply.client, self._round, "reply", str(error)))
            return
        self.drift.fold(move)
        self.replied += 1
        if "loss" in reply.metrics:
            self.losses.append(reply.metrics["loss"])
        for name in CLIENT_DIAGNOSTICS:
            if name in reply.metrics:
                self.reported.setdefault(name, []).append(reply.metrics[name])
        self.examples += reply.num_examples
        self.shrunk += int(reply.metrics.get("batch_size", np.inf) < self._batch_size)
        self.bytes_up += num_bytes(reply.arrays) + num_bytes(reply.extra)
