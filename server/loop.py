"""The round loop of the server: from the first weights through all rounds to the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from flwr.serverapp import Grid

from fedmetric.arrays import Arrays, sha256_of
from fedmetric.data.base import class_hash
from fedmetric.errors import ConfigError, DataError, FedmetricError
from fedmetric.evaluation.base import Scores
from fedmetric.export import save_model
from fedmetric.federation.base import Memory
from fedmetric.federation.norms import NORM_POLICIES
from fedmetric.privacy.ledger import Ledger
from fedmetric.privacy.manifest import Manifest
from fedmetric.privacy.planning import DEAFENING
from fedmetric.privacy.statement import statement_of
from fedmetric.runs import RunFolder
from fedmetric.server.alarm import CollapseAlarm
from fedmetric.server.checkpoints import Checkpoint, save_checkpoint
from fedmetric.server.cohort import cohort_of
from fedmetric.server.events import Emit, as_plain, evaluation_event, round_event, start_event
from fedmetric.server.exchange import Clients
from fedmetric.server.judge import Judge, mean_of_clients
from fedmetric.server.rounds import Plan, run_round
from fedmetric.training.calibrate import calibrated_names
from fedmetric.training.local_update import Trainer, kept_names
from fedmetric.training.private import shared_parts
from fedmetric.training.site import Site
from fedmetric.wire import Setting

NODE_WAIT_SECONDS = 120.0


class Keeper(Protocol):
    """Whoever holds the clients' own states between rounds, where that is in the server's process."""

    def snapshot(self) -> dict[int, Memory]:
        """Copy every client's state."""
        ...

    def restore(self, memories: Mapping[int, Memory]) -> None:
        """Put back every client's state."""
        ...


@dataclass(frozen=True)
class Report:
    """The result of a run.

    Attributes:
        rounds: rounds finished.
        shared: the final weights.
        evaluation: scores by row ("trained", "pixels", "random") and name.
        seconds: from start to end, earlier parts of a resumed run included.
        clients: scores of every client's own network, where the rule shares nothing; "trained" is then their mean.
        diagnostics: of the final embedding space, by name.
        privacy: what may be claimed and what was spent; see `statement_of`. Empty where nothing is claimed.
    """

    rounds: int
    shared: Arrays
    evaluation: Mapping[str, Scores]
    seconds: float
    clients: Mapping[int, Scores] = field(default_factory=dict)
    diagnostics: Mapping[str, float | None] = field(default_factory=dict)
    privacy: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weights_sha256(self) -> str:
        """Hash of the final weights."""
        return sha256_of(self.shared)


def plan_of(site: Site, folder: RunFolder | None = None) -> Plan:
    """Return what every round of an experiment has in common, with the books that are kept in a run's folder.

    A ledger is among them where a mechanism claims something.

    Raises:
        LedgerError: the ledger was changed or cut short.
    """
    trainer = site.trainer
    layout, routes = trainer.embedder.layout, trainer.routes
    recalibrated = NORM_POLICIES[site.experiment.federation.norm].recalibrated
    calibrated = calibrated_names(layout, routes.down) if recalibrated else ()
    if recalibrated and not calibrated:
        raise ConfigError(
            "federation.norm = 'recalibrate' has nothing to measure: the backbone has no running statistics, or the "
            f"rule '{site.experiment.federation.rule.name}' leaves them at the clients; choose another policy"
        )
    evaluated = tuple(sorted(map(class_hash, site.evaluation_images.present_classes())))
    setting = Setting(site.num_clients, site.dataset.train.channels, evaluated)
    ledger = Ledger(folder.ledger) if folder and trainer.mechanism.unit else None
    secure = "a mask" if site.experiment.federation.secure.on else ""
    covered = trainer.mechanism.covered or secure
    manifest = Manifest(folder.manifest, covered) if folder else None
    return Plan(
        site.experiment, trainer.rule, layout, routes, calibrated, trainer, setting, trainer.mechanism, ledger,
        site.schedule, manifest,
    )  # fmt: skip


def serve(
    connect: Callable[[], Clients],
    site: Site,
    folder: RunFolder,
    emit: Emit,
    start: Checkpoint | None = None,
    keeper: Keeper | None = None,
    clients_remember: bool = False,
) -> Report:
    """Run an experiment with its clients.

    Args:
        connect: returns the way to the clients; called once what can be checked without them has been checked.
        site: the experiment and its data.
        folder: where checkpoints and the model go.
        emit: called with every event of the run.
        start: a checkpoint to continue from; by default the beginning.
        keeper: holds the clients' own states, if they are to be checkpointed.
        clients_remember: whether clients keep their own states themselves, for a run that goes on later.

    Raises:
        ConfigError: the objective cannot be trained on some client, or the rule needs what the engine has not.
        DataError: the checkpoint was trained on other classes than the data set holds.
        TooFewClientsError: a round lost too many clients; what was finished is in a checkpoint.
    """
    began = time.monotonic() - (start.seconds if start else 0.0)
    experiment, trainer = site.experiment, site.trainer
    cohort_of(experiment, 1, site.num_clients)  # refused now or never
    site.check_clients()
    if trainer.rule.personal and keeper is None:
        raise ConfigError(
            f"rule '{experiment.federation.rule.name}' evaluates the clients' own networks: use --engine local"
        )
    judge = Judge(site)
    if start is not None and start.class_hashes != judge.class_hashes:
        raise DataError(f"{folder.path}: the checkpoint was trained on other classes than the data set now holds")
    if start is not None and keeper is None and not clients_remember and needs_client_state(trainer):
        raise ConfigError(
            "this engine does not keep the clients' own state in checkpoints, and this run cannot go on without it; "
            "resume with --engine local a run that --engine local began"
        )
    plan = plan_of(site, folder)
    if plan.ledger is not None and start is not None:
        plan.ledger.check_holds(start.ledger)
    clients = connect()
    if start is None:
        shared = site.beginning()
        start = Checkpoint(0, shared, plan.rule.init(shared), {}, experiment.fingerprint(), judge.class_hashes)
    elif keeper is not None:
        keeper.restore(start.memories)
    emit(start_event(site, start))
    emit({"event": "baselines", "rows": {name: as_plain(row) for name, row in judge.baselines.items()}})

    if promise := statement_of(trainer.mechanism, site.schedule):
        emit({"event": "privacy", "round": start.round, **promise})
        loudness = trainer.mechanism.loudness(site.schedule, sum(shared_parts(trainer.embedder, plan.routes).values()))
        if loudness > DEAFENING:
            text = f"noise of {loudness:.3g} times the clip norm drowns every step; see 'fedmetric privacy plan'"
            emit({"event": "warning", "round": start.round, "text": text})

    alarm = CollapseAlarm(judge.untrained)
    done, saved = start, start.round
    try:
        for round in range(start.round + 1, experiment.federation.rounds + 1):
            entered = time.monotonic()
            outcome = run_round(clients, plan, round, done.shared, done.state, done.standing)
            memories = keeper.snapshot() if keeper else {}
            seconds = time.monotonic() - began
            now = Checkpoint(
                round, outcome.shared, outcome.state, memories, start.fingerprint, judge.class_hashes, seconds,
                outcome.standing, plan.ledger.head if plan.ledger else "",
            )  # fmt: skip
            diagnostics = {} if trainer.rule.personal else judge.inspect(now.shared)
            emit(round_event(experiment, round, outcome, diagnostics, time.monotonic() - entered))
            done = now  # a round whose line a signal kept from being written is done again
            between = is_due(round, experiment.evaluation.every) and round < experiment.federation.rounds
            if between and not trainer.rule.personal:
                emit(evaluation_event(round, *judge.measure(done.shared, full=False)))
            if is_due(round, experiment.checkpoint_every):
                save_checkpoint(folder.checkpoints, done)
                saved = round
                emit({"event": "checkpoint", "round": round})
            if cause := alarm.check(diagnostics, outcome.means, outcome.drift):
                emit({"event": "alarm", "round": round, "kind": "collapse", "text": cause})
        kept = statement_of(trainer.mechanism, site.schedule, plan.ledger)
        report = replace(conclude(judge, done, emit, began), privacy=kept)
    finally:
        if done.round > saved:
            save_checkpoint(folder.checkpoints, done)
            emit({"event": "checkpoint", "round": done.round})
    if done.shared:
        save_model(folder.model, experiment, site.dataset.train.channels, done.shared, judge.class_hashes)
    return report


def conclude(judge: Judge, done: Checkpoint, emit: Emit, began: float) -> Report:
    """Measure the end of a run in full."""
    clients: dict[int, Scores] = {}
    finished: Scores
    diagnostics: Scores
    if judge.site.trainer.rule.personal and done.memories:
        clients = judge.measure_clients(done.memories, full=True)
        finished, diagnostics = mean_of_clients(clients), {}
        weights = {f"{client}/{name}": array for client, own in done.memories.items() for name, array in own.items()}
    else:
        weights = done.shared
        finished, diagnostics = judge.measure(weights, full=True)
    emit(evaluation_event(done.round, finished, diagnostics))
    rows = {"trained": finished, **judge.baselines}
    space = {name: score.mean for name, score in diagnostics.items()}
    return Report(done.round, weights, rows, time.monotonic() - began, clients, space)


def needs_client_state(trainer: Trainer) -> bool:
    """Return whether what clients keep between rounds decides the result."""
    return bool(kept_names(trainer)) or trainer.rule.remembers or (trainer.experiment.local.optimiser_state == "local")


def is_due(round: int, every: int) -> bool:
    """Return whether something done each `every` rounds is due; 0 is never."""
    return every > 0 and round % every == 0


def wait_for_nodes(grid: Grid, wanted: int) -> list[int]:
    """Return the node of each partition: ascending node ids, once enough nodes are there.

    Raises:
        FedmetricError: too few nodes after two minutes.
    """
    deadline = time.monotonic() + NODE_WAIT_SECONDS
    while len(nodes := sorted(grid.get_node_ids())) < wanted:
        if time.monotonic() > deadline:
            raise FedmetricError(f"{len(nodes)} of {wanted} clients connected within {NODE_WAIT_SECONDS:.0f} s")
        time.sleep(0.2)
    return nodes[:wanted]
