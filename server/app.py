"""The Flower ServerApp: from the first weights through all rounds to the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any, Protocol

import numpy as np
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedmetric.arrays import Arrays, num_bytes, sha256_of
from fedmetric.config import Experiment, load_experiment
from fedmetric.errors import DataError, FedmetricError
from fedmetric.evaluation.base import Scores
from fedmetric.export import save_model
from fedmetric.federation.base import FederationRule, Memory
from fedmetric.runs import RunFolder
from fedmetric.server.checkpoints import Checkpoint, save_checkpoint
from fedmetric.server.cohort import draw_cohort
from fedmetric.server.judge import Judge
from fedmetric.server.rounds import Clients, RoundOutcome, run_round
from fedmetric.training.optimiser import learning_rate
from fedmetric.training.site import Site

NODE_WAIT_SECONDS = 120.0
Emit = Callable[[Mapping[str, Any]], None]


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
    """

    rounds: int
    shared: Arrays
    evaluation: Mapping[str, Scores]
    seconds: float

    @property
    def weights_sha256(self) -> str:
        """Hash of the final weights."""
        return sha256_of(self.shared)


def serve(
    grid: Grid,
    site: Site,
    folder: RunFolder,
    emit: Emit,
    start: Checkpoint | None = None,
    keeper: Keeper | None = None,
    window: int | None = None,
    stop: Event | None = None,
) -> Report:
    """Run an experiment on a grid of clients.

    Args:
        grid: Flower's way to the clients.
        site: the experiment and its data.
        folder: where checkpoints and the model go.
        emit: called with every event of the run.
        start: a checkpoint to continue from; by default the beginning.
        keeper: holds the clients' own states, if they are to be checkpointed.
        window: messages under way at a time; None for all.
        stop: ends the run when set, as a signal would; for engines that serve in a thread.

    Raises:
        DataError: the checkpoint was trained on other classes than the data set holds.
        TooFewClientsError: a round lost too many clients; what was finished is in a checkpoint.
    """
    began = time.monotonic() - (start.seconds if start else 0.0)
    experiment = site.experiment
    draw_cohort(experiment.seed, 1, site.num_clients, experiment.federation.clients_per_round)  # refused now or never
    judge = Judge(site)
    if start is not None and start.class_hashes != judge.class_hashes:
        raise DataError(f"{folder.path}: the checkpoint was trained on other classes than the data set now holds")
    rule: FederationRule = site.trainer.rule
    clients = Clients(grid, wait_for_nodes(grid, site.num_clients), window, stop)
    if start is None:
        shared = site.trainer.embedder.shared()
        start = Checkpoint(0, shared, rule.init(shared), {}, experiment.fingerprint(), judge.class_hashes)
    elif keeper is not None:
        keeper.restore(start.memories)
    emit(start_event(site, start))
    emit({"event": "baselines", "rows": {name: as_plain(row) for name, row in judge.baselines.items()}})

    done, saved = start, start.round
    try:
        for round in range(start.round + 1, experiment.federation.rounds + 1):
            entered = time.monotonic()
            outcome = run_round(clients, rule, experiment, round, done.shared, done.state)
            memories = keeper.snapshot() if keeper else {}
            seconds = time.monotonic() - began
            done = Checkpoint(
                round, outcome.shared, outcome.state, memories, start.fingerprint, judge.class_hashes, seconds
            )
            emit(round_event(experiment, round, outcome, time.monotonic() - entered))
            if is_due(round, experiment.evaluation.every) and round < experiment.federation.rounds:
                emit(evaluation_event(round, *judge.measure(done.shared, transfer=False)))
            if is_due(round, experiment.checkpoint_every):
                save_checkpoint(folder.checkpoints, done)
                saved = round
                emit({"event": "checkpoint", "round": round})
        finished, diagnostics = judge.measure(done.shared, transfer=True)
        emit(evaluation_event(done.round, finished, diagnostics))
    finally:
        if done.round > saved:
            save_checkpoint(folder.checkpoints, done)
            emit({"event": "checkpoint", "round": done.round})
    save_model(folder.model, experiment, site.dataset.train.channels, done.shared, judge.class_hashes)
    return Report(done.round, done.shared, {"trained": finished, **judge.baselines}, time.monotonic() - began)


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


def as_plain(scores: Scores) -> dict[str, dict[str, Any]]:
    """Turn scores into plain values for JSON."""
    return {name: asdict(score) for name, score in scores.items()}


def start_event(site: Site, start: Checkpoint) -> dict[str, Any]:
    """Describe the run before its first round."""
    sizes = [len(part) for part in site.parts]
    batch = site.experiment.local.batch_size
    return {
        "event": "start",
        "round": start.round,
        "rounds": site.experiment.federation.rounds,
        "name": site.experiment.name,
        "fingerprint": start.fingerprint,
        "clients": site.num_clients,
        "images": int(sum(sizes)),
        "classes": len(site.training_images.present_classes()),
        "small_clients": sum(size < batch for size in sizes),
        "batch_size": batch,
        "evaluation_images": len(site.evaluation_images),
        "evaluation_classes": len(site.evaluation_images.present_classes()),
        "evaluation_on": site.experiment.evaluation.on,
        "shared_bytes": num_bytes(start.shared),
        "skipped": len(site.dataset.skipped),
        "notes": list(site.dataset.notes),
    }


def round_event(experiment: Experiment, round: int, outcome: RoundOutcome, seconds: float) -> dict[str, Any]:
    """Describe a finished round."""
    losses = np.asarray(outcome.losses)
    rounds = experiment.federation.rounds
    return {
        "event": "round",
        "round": round,
        "rounds": rounds,
        "ok": len(losses),
        "failed": len(outcome.failures),
        "failures": [str(failure) for failure in outcome.failures],
        "loss": float(losses.mean()),
        "loss_spread": float(losses.std()),
        "lr": learning_rate(experiment.local, round, rounds),
        "examples": outcome.examples,
        "shrunk": outcome.shrunk,
        "bytes_down": outcome.bytes_down,
        "bytes_up": outcome.bytes_up,
        "seconds": seconds,
    }


def evaluation_event(round: int, scores: Scores, diagnostics: Scores) -> dict[str, Any]:
    """Describe an evaluation."""
    return {
        "event": "evaluation",
        "round": round,
        "scores": as_plain(scores),
        "diagnostics": {name: score.mean for name, score in diagnostics.items()},
    }


app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Serve the experiment that Flower's run configuration names; its keys are "experiment" and "out"."""
    experiment = load_experiment(str(context.run_config["experiment"]))
    folder = RunFolder.create(Path(str(context.run_config.get("out", f"runs/{experiment.name}"))), experiment)
    serve(grid, Site(experiment), folder, folder.append)
