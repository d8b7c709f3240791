"""One round: ask the cohort, fold the replies in as they come, and make the next weights of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event

import numpy as np
from flwr.serverapp import Grid

from fedmetric.arrays import Arrays, num_bytes
from fedmetric.config import Experiment
from fedmetric.errors import TooFewClientsError
from fedmetric.federation.base import FederationRule, State
from fedmetric.server.cohort import draw_cohort
from fedmetric.server.exchange import exchange
from fedmetric.wire import ClientFailure, TrainRequest


@dataclass(frozen=True)
class Clients:
    """The way to the clients: a grid, the node of each partition, the messages under way at a time, a way to stop."""

    grid: Grid
    nodes: Sequence[int]
    window: int | None = None
    stop: Event | None = None


@dataclass(frozen=True)
class RoundOutcome:
    """What a round did.

    Attributes:
        shared: the new weights.
        state: the rule's new server state.
        losses: mean local loss of every client that replied.
        failures: of the clients that did not.
        examples: images trained on, over all clients.
        shrunk: clients that had fewer images than a batch.
        bytes_down: weights sent, in bytes.
        bytes_up: weights received, in bytes.
    """

    shared: Arrays
    state: State
    losses: tuple[float, ...]
    failures: tuple[ClientFailure, ...]
    examples: int
    shrunk: int
    bytes_down: int
    bytes_up: int


def run_round(
    clients: Clients, rule: FederationRule, experiment: Experiment, round: int, shared: Arrays, state: State
) -> RoundOutcome:
    """Run one round.

    Raises:
        TooFewClientsError: more of the cohort was lost than the experiment allows; the first client's error is in
            the message.
    """
    cohort = draw_cohort(experiment.seed, round, len(clients.nodes), experiment.federation.clients_per_round)
    broadcast = rule.broadcast(state)

    def request_for(client: int) -> TrainRequest:
        return TrainRequest(experiment, round, client, shared, broadcast)

    total = rule.begin()
    losses: list[float] = []
    failures: list[ClientFailure] = []
    examples = shrunk = bytes_up = 0
    for reply in exchange(clients.grid, clients.nodes, cohort, request_for, clients.window, clients.stop):
        if isinstance(reply, ClientFailure):
            failures.append(reply)
            continue
        rule.fold(total, reply)
        losses.append(reply.metrics.get("loss", float("nan")))
        examples += reply.num_examples
        shrunk += reply.metrics.get("batch_size", np.inf) < experiment.local.batch_size
        bytes_up += num_bytes(reply.arrays) + num_bytes(reply.extra)
    check_enough(len(cohort), failures, experiment.federation.max_lost, round)
    state, new = rule.finish(state, shared, total)
    bytes_down = len(cohort) * (num_bytes(shared) + num_bytes(broadcast))
    return RoundOutcome(new, state, tuple(losses), tuple(failures), examples, int(shrunk), bytes_down, bytes_up)


def check_enough(cohort: int, failures: Sequence[ClientFailure], max_lost: float, round: int) -> None:
    """Refuse a round that lost every client, or more of them than allowed.

    Raises:
        TooFewClientsError: shows the counts and the first failure.
    """
    if failures and (len(failures) == cohort or len(failures) > max_lost * cohort):
        raise TooFewClientsError(
            f"round {round} lost {len(failures)} of {cohort} clients, more than federation.max_lost={max_lost:g} "
            f"allows; the first: {failures[0]}"
        )
