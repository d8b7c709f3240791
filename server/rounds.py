"""One round: ask the cohort, fold the replies in as they come, and make the next weights of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from fedmetric.arrays import Arrays, num_bytes
from fedmetric.config import Experiment
from fedmetric.errors import ProtocolError, TooFewClientsError
from fedmetric.federation.average import WeightedMean
from fedmetric.federation.base import FederationRule, State, Total, Update, Workshop
from fedmetric.layout import Layout, Routes
from fedmetric.seeds import derive_seed, torch_generator
from fedmetric.server.cohort import cohort_of
from fedmetric.server.drift import Drift
from fedmetric.server.exchange import Clients, exchange
from fedmetric.training.local_update import Trainer, one_thread
from fedmetric.wire import NO_SETTING, ClientFailure, Request, Setting


@dataclass(frozen=True)
class Plan:
    """What every round of a run has in common.

    Attributes:
        experiment: the whole experiment.
        rule: the federation rule.
        layout: what every tensor is.
        routes: which tensors are sent to clients and come back.
        calibrated: the running statistics that clients measure after each round; none under most norm policies.
        trainer: the server's own network and the public images, for rules that train at the server.
        setting: what clients are told of the federation.
    """

    experiment: Experiment
    rule: FederationRule
    layout: Layout
    routes: Routes
    calibrated: Collection[str] = ()
    trainer: Trainer | None = None
    setting: Setting = NO_SETTING


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
        drift: how far and how much in one direction clients moved; see `Drift.result`.
        reported: diagnostics of every client that replied, by name.
        figures: of the rule's state; see `FederationRule.figures`.
    """

    shared: Arrays
    state: State
    losses: tuple[float, ...]
    failures: tuple[ClientFailure, ...]
    examples: int
    shrunk: int
    bytes_down: int
    bytes_up: int
    drift: Mapping[str, float] = field(default_factory=dict)
    reported: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def means(self) -> dict[str, float]:
        """The clients' diagnostics, averaged over those that replied."""
        return {name: float(np.mean(values)) for name, values in self.reported.items()}


CLIENT_DIAGNOSTICS = ("std", "rank", "uniformity", "alignment")


def run_round(clients: Clients, plan: Plan, round: int, shared: Arrays, state: State) -> RoundOutcome:
    """Run one round.

    Raises:
        TooFewClientsError: more of the cohort was lost than the experiment allows; the first client's error is in
            the message.
    """
    cohort = cohort_of(plan.experiment, round, len(clients.nodes))
    clients.gather(cohort)
    rule, batch_size = plan.rule, plan.experiment.local.batch_size
    broadcast = rule.broadcast(state)
    alone = {client: rule.broadcast_to(state, client) for client in cohort}
    sent = {name: shared[name] for name in plan.routes.down}
    expected = {name: shared[name] for name in plan.routes.up}

    def request_for(client: int) -> Request:
        return Request(plan.experiment, round, client, sent, broadcast | alone[client], setting=plan.setting)

    total, drift = rule.begin(shared), Drift(expected, plan.layout.parameters)
    losses: list[float] = []
    failures: list[ClientFailure] = []
    reported: dict[str, list[float]] = {}
    examples = shrunk = bytes_up = 0
    for reply in exchange(clients, cohort, request_for, expected):
        reply = checked(rule, reply, shared, round)
        if isinstance(reply, ClientFailure):
            failures.append(reply)
            continue
        try:
            rule.fold(total, reply)
        except ProtocolError as error:
            failures.append(ClientFailure(reply.client, round, "reply", str(error)))
            continue
        drift.fold(reply.arrays)
        losses.append(reply.metrics.get("loss", float("nan")))
        for name in CLIENT_DIAGNOSTICS:
            if name in reply.metrics:
                reported.setdefault(name, []).append(reply.metrics[name])
        examples += reply.num_examples
        shrunk += reply.metrics.get("batch_size", np.inf) < batch_size
        bytes_up += num_bytes(reply.arrays) + num_bytes(reply.extra)
    check_enough(len(cohort), failures, plan.experiment.federation.max_lost, round)
    with one_thread():
        state, new = rule.finish(state, shared, total)
        figures = rule.figures(state)
    if rule.needs_public:
        new = distil(plan, round, new, total)
    bytes_down = len(cohort) * (num_bytes(sent) + num_bytes(broadcast)) + sum(map(num_bytes, alone.values()))
    if plan.calibrated:
        measured, more_down, more_up = calibrate(clients, plan, round, cohort, new)
        new, bytes_down, bytes_up = new | measured, bytes_down + more_down, bytes_up + more_up
    return RoundOutcome(
        new, state, tuple(losses), tuple(failures), examples, int(shrunk), bytes_down, bytes_up,
        drift.result(), {name: tuple(values) for name, values in reported.items()}, figures,
    )  # fmt: skip


def checked(rule: FederationRule, reply: Update | ClientFailure, shared: Arrays, round: int) -> Update | ClientFailure:
    """Turn an update whose extra arrays are not what the rule uploads into a failure."""
    if isinstance(reply, Update):
        try:
            rule.check_extra(reply.extra, shared)
        except ProtocolError as error:
            return ClientFailure(reply.client, round, "reply", str(error))
    return reply


def calibrate(
    clients: Clients, plan: Plan, round: int, cohort: Sequence[int], shared: Arrays
) -> tuple[Arrays, int, int]:
    """Let the cohort measure the running statistics under the new weights; return them pooled, and the bytes moved.

    A client that fails here is left out; if all do, nothing is measured and the statistics stay.
    """
    sent = {name: shared[name] for name in plan.routes.down}
    expected = {name: shared[name] for name in plan.calibrated}

    def request_for(client: int) -> Request:
        return Request(plan.experiment, round, client, sent, {}, "calibrate", plan.setting)

    total, bytes_up = WeightedMean(plan.layout.statistics), 0
    for reply in exchange(clients, cohort, request_for, expected):
        if not isinstance(reply, ClientFailure):
            total.fold(reply.arrays, float(reply.num_examples))
            bytes_up += num_bytes(reply.arrays)
    return total.result(expected), len(cohort) * num_bytes(sent), bytes_up


def distil(plan: Plan, round: int, shared: Arrays, total: Total) -> Arrays:
    """Let the rule train the server's network on public images."""
    assert plan.trainer is not None
    assert plan.trainer.public is not None
    seed = plan.experiment.seed
    generator = torch_generator(seed, "distillation", round=round)
    with one_thread(), torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, "layers of the server", round=round))
        network = plan.trainer.embedder.to(plan.trainer.device)
        return plan.rule.distil(shared, total, Workshop(network, plan.trainer.public, generator))


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
