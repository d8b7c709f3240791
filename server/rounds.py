"""One round: ask the cohort, fold the replies in as they come, and make the next weights of them."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch

from fedmetric.arrays import Arrays, num_bytes
from fedmetric.config import Experiment
from fedmetric.config.experiment import Federation
from fedmetric.errors import TooFewClientsError
from fedmetric.federation.average import WeightedMean
from fedmetric.federation.base import FederationRule, State, Total, Update, Workshop
from fedmetric.federation.robust import trained
from fedmetric.layout import Layout, Routes
from fedmetric.privacy.base import Mechanism
from fedmetric.privacy.ledger import Ledger
from fedmetric.privacy.manifest import Manifest
from fedmetric.privacy.schedule import Schedule
from fedmetric.privacy.secure.masking import Masking, length_of, mean_of
from fedmetric.privacy.secure.tables import Tables
from fedmetric.seeds import derive_seed, torch_generator
from fedmetric.server.cohort import cohort_of
from fedmetric.server.drift import Drift
from fedmetric.server.exchange import Clients, exchange
from fedmetric.server.intake import Intake
from fedmetric.server.secure import Aggregation, SecureSum
from fedmetric.server.standing import NO_STANDING, Standing
from fedmetric.training.local_update import Trainer, one_thread
from fedmetric.wire import NO_SETTING, ClientFailure, Request, Setting, Task


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
        mechanism: what makes the round private.
        ledger: where the cost of every round is written down before it begins; None where nothing is claimed.
        schedule: how often whose data is used.
        manifest: where what arrives is written down; None for nowhere.
    """

    experiment: Experiment
    rule: FederationRule
    layout: Layout
    routes: Routes
    calibrated: Collection[str] = ()
    trainer: Trainer | None = None
    setting: Setting = NO_SETTING
    mechanism: Mechanism = field(default_factory=Mechanism)
    ledger: Ledger | None = None
    schedule: Schedule | None = None
    manifest: Manifest | None = None


@dataclass(frozen=True)
class RoundOutcome:
    """What a round did.

    Attributes:
        shared: the new weights.
        state: the rule's new server state.
        replied: clients whose reply counts.
        losses: mean local loss of those that say it.
        failures: of the clients that did not.
        examples: images trained on, over all clients.
        shrunk: clients that had fewer images than a batch.
        bytes_down: weights sent, in bytes.
        bytes_up: weights received, in bytes.
        drift: how far and how much in one direction clients moved; see `Drift.result`.
        reported: diagnostics of every client that replied, by name.
        figures: of the rule's state; see `FederationRule.figures`.
        standing: what is remembered of the clients after the round.
        counted: whether enough clients replied; else weights and state are those from before the round.
    """

    shared: Arrays
    state: State
    replied: int
    losses: tuple[float, ...]
    failures: tuple[ClientFailure, ...]
    examples: int
    shrunk: int
    bytes_down: int
    bytes_up: int
    drift: Mapping[str, float] = field(default_factory=dict)
    reported: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    standing: Standing = NO_STANDING
    counted: bool = True

    @property
    def means(self) -> dict[str, float]:
        """The clients' diagnostics, averaged over those that replied."""
        return {name: float(np.mean(values)) for name, values in self.reported.items()}


def run_round(
    clients: Clients, plan: Plan, round: int, shared: Arrays, state: State, standing: Standing = NO_STANDING
) -> RoundOutcome:
    """Run one round.

    Raises:
        TooFewClientsError: more of the cohort was lost than the experiment allows, and too often; the first client's
            error is in the message.
    """
    rule, federation = plan.rule, plan.experiment.federation
    if plan.mechanism.fixed_denominator:  # who is drawn must not depend on who is there
        clients.gather(range(len(clients.nodes)))
    seed = plan.mechanism.cohort_seed(plan.experiment.seed)
    cohort = standing.asked(cohort_of(plan.experiment, round, len(clients.nodes), seed), federation.accept)
    if not plan.mechanism.fixed_denominator:
        clients.gather(cohort)
    write_down(plan, round, cohort)
    if federation.secure.on:
        return run_secure_round(clients, plan, round, cohort, shared, state, standing)
    broadcast = rule.broadcast(state)
    alone = {client: rule.broadcast_to(state, client) for client in cohort}
    sent = {name: shared[name] for name in plan.routes.down}
    expected = {name: shared[name] for name in plan.routes.up}

    def request_for(client: int) -> Request:
        return Request(plan.experiment, round, client, sent, broadcast | alone[client], setting=plan.setting)

    drift = Drift(expected, plan.layout.parameters)
    intake = Intake(rule, plan.experiment, round, shared, state, drift, standing)
    for reply in exchange(clients, cohort, request_for, expected):
        note(plan, round, reply)
        intake.take(reply)
    bytes_down = len(cohort) * (num_bytes(sent) + num_bytes(broadcast)) + sum(map(num_bytes, alone.values()))
    enough = plan.mechanism.fixed_denominator or has_enough(len(cohort), intake.failures, federation.max_lost)
    after = standing.after(drift.moves, intake.failures, enough)
    if not enough:
        check_skipped(after, len(cohort), intake.failures, federation, round)
        return outcome_of(intake, shared, state, bytes_down, after, counted=False)
    with one_thread():
        state, new = rule.finish(state, shared, intake.total)
    if rule.needs_public:
        new = distil(plan, round, new, intake.total)
    if plan.calibrated:
        measured, more_down, more_up = calibrate(clients, plan, round, cohort, new)
        new, bytes_down, intake.bytes_up = new | measured, bytes_down + more_down, intake.bytes_up + more_up
    moved = {} if plan.mechanism.hides else drift.result()
    return replace(outcome_of(intake, new, state, bytes_down, after), figures=rule.figures(state), drift=moved)


def run_secure_round(
    clients: Clients,
    plan: Plan,
    round: int,
    cohort: Sequence[int],
    shared: Arrays,
    state: State,
    standing: Standing,
) -> RoundOutcome:
    """Run one round of which the server learns the sum of the clients' moves only.

    The rule is given their mean as one update, as in `fedmetric.privacy.mechanisms.client_level`. A round without a sum
    does not count, whatever the mechanism: weights and state stay.

    Raises:
        TooFewClientsError: there was no sum too often; never under a mechanism with a fixed denominator.
    """
    rule, fixed = plan.rule, plan.mechanism.fixed_denominator
    asked = sum_of_moves(clients, plan, round, cohort, shared, state)
    survivors, counted = len(asked.survivors), asked.total is not None
    after = standing.after((), asked.failures, counted)
    outcome = RoundOutcome(
        shared, state, survivors, (), tuple(asked.failures), survivors, 0, asked.bytes_down, asked.bytes_up,
        standing=after, counted=counted,
    )  # fmt: skip
    if asked.total is None:
        if not fixed and after.skipped > plan.experiment.federation.max_skipped:
            first = f"; the first failure: {asked.failures[0]}" if asked.failures else ""
            raise TooFewClientsError(
                f"round {round}, without a sum for the {after.skipped}. time in a row: {asked.refusal}{first}"
            )
        return outcome
    names = trained(plan.layout, {name: shared[name] for name in plan.routes.down})
    divisor = plan.schedule.cohort if fixed and plan.schedule else survivors
    with one_thread():
        mean = Update(-1, {**shared, **mean_of(shared, names, asked.total, divisor)}, 1)
        state, new = rule.aggregate(state, shared, [mean])
    return replace(outcome, shared=new, state=state, figures=rule.figures(state))


def sum_of_moves(
    clients: Clients, plan: Plan, round: int, cohort: Sequence[int], shared: Arrays, state: State
) -> SecureSum:
    """Ask for the sum of a cohort's moves; a cohort that is too small is not asked at all."""
    masking, fixed = Masking(plan.experiment, plan.mechanism), plan.mechanism.fixed_denominator
    if len(cohort) < masking.threshold(len(cohort)):
        return SecureSum(refusal=f"{len(cohort)} clients to ask, and {masking.threshold(len(cohort))} are needed")
    sent, broadcast = {name: shared[name] for name in plan.routes.down}, plan.rule.broadcast(state)
    terms = masking.terms(secrets.token_hex(16), round, len(cohort), length_of(sent, trained(plan.layout, sent)))

    def request_for(client: int, task: Task, tables: Tables) -> Request:
        weights, extra = (sent, broadcast) if task == "train" else ({}, {})
        return Request(plan.experiment, round, client, weights, extra, task, plan.setting, tables)

    aggregation = Aggregation(clients, cohort, terms, request_for)
    return aggregation.collect(1.0 if fixed else plan.experiment.federation.max_lost, partial(note, plan, round))


def write_down(plan: Plan, round: int, cohort: Sequence[int]) -> None:
    """Charge a round to the ledger, before anybody is asked for anything."""
    if plan.ledger is None or plan.schedule is None:
        return
    for account, charge in plan.mechanism.charges(plan.schedule, cohort).items():
        plan.ledger.charge(round, charge, account)


def note(plan: Plan, round: int, reply: Update | ClientFailure) -> None:
    """Write down what has arrived of a client."""
    if plan.manifest is not None and not isinstance(reply, ClientFailure):
        plan.manifest.note(round, reply)


def outcome_of(
    intake: Intake, shared: Arrays, state: State, bytes_down: int, standing: Standing, counted: bool = True
) -> RoundOutcome:
    """Put together what a round did."""
    reported = {name: tuple(values) for name, values in intake.reported.items()}
    return RoundOutcome(
        shared, state, intake.replied, tuple(intake.losses), tuple(intake.failures), intake.examples, intake.shrunk,
        bytes_down, intake.bytes_up, reported=reported, standing=standing, counted=counted,
    )  # fmt: skip


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
        note(plan, round, reply)
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


def has_enough(cohort: int, failures: Sequence[ClientFailure], max_lost: float) -> bool:
    """Return whether enough of a cohort replied: at least one client, and no larger share lost than allowed."""
    return len(failures) < cohort and len(failures) <= max_lost * cohort


def check_skipped(
    standing: Standing, cohort: int, failures: Sequence[ClientFailure], federation: Federation, round: int
) -> None:
    """End a run whose rounds lose too many clients too often.

    Raises:
        TooFewClientsError: shows the counts and the first failure.
    """
    if standing.skipped > federation.max_skipped:
        first = f"; the first: {failures[0]}" if failures else "; nobody was left to ask"
        again = f", {standing.skipped} rounds in a row," if federation.max_skipped else ","
        raise TooFewClientsError(
            f"round {round} lost {len(failures)} of {cohort} clients{again} more than "
            f"federation.max_lost={federation.max_lost:g} allows{first}"
        )
