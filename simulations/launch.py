"""Start or continue a run: the engine, the run folder and a summary that tells the truth however the run ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from fedmetric.config import Experiment
from fedmetric.errors import CollapseError, FedmetricError, Interrupted, UsageError
from fedmetric.runs import SUMMARY_SCHEMA, RunFolder
from fedmetric.server.app import Report
from fedmetric.server.checkpoints import Checkpoint, checkpoint_folders, latest_checkpoint
from fedmetric.server.events import Emit, as_plain
from fedmetric.simulations.engines.processes import default_workers, preload
from fedmetric.training.site import Site
from fedmetric.training.start import with_the_hash_of_its_start

EngineName = Literal["local", "ray"]
SUMMARY_KEYS = ("mean", "ci95", "n")


def start_run(
    experiment: Experiment,
    out: Path,
    listen: Emit,
    engine: EngineName = "local",
    workers: int | None = None,
    fail_on: str | None = None,
) -> dict[str, Any]:
    """Run an experiment into a new folder and return its summary.

    Args:
        experiment: what to run.
        out: folder of the run; must be empty or absent.
        listen: called with every event, after it was written to the folder.
        engine: "local" or "ray".
        workers: client processes; by default one for each core.
        fail_on: the kind of alarm that ends the run: "collapse", or None.

    Raises:
        CollapseError: the alarm that `fail_on` names went off; the last round is in a checkpoint.
        UsageError: the folder is taken.
        FedmetricError: the run failed; its summary says how.
    """
    _engine(engine)  # a missing extra is said before a folder is made
    experiment = with_the_hash_of_its_start(experiment)
    folder = RunFolder.create(out, experiment)
    return _run(folder, experiment, listen, engine, workers, None, fail_on=fail_on)


def resume_run(
    out: Path,
    listen: Emit,
    engine: EngineName = "local",
    workers: int | None = None,
    fail_on: str | None = None,
) -> dict[str, Any]:
    """Continue a run from its newest whole checkpoint, or from the beginning when it has none; return its summary.

    The final weights have the sha256 of a run that was never interrupted.

    Raises:
        UsageError: the folder is no run, or the run is done already.
        FedmetricError: the checkpoint belongs to another experiment, or the run failed.
    """
    folder = RunFolder.open(out)
    experiment = folder.experiment
    summary = folder.summary()
    if summary and summary["status"] == "done":
        raise UsageError(
            f"{out} is done: {summary['rounds']} rounds, sha256 {summary['weights_sha256'][:12]}; nothing to resume"
        )
    start: Checkpoint | None = None
    problems: list[str] = []
    if checkpoint_folders(folder.checkpoints):
        start, problems = latest_checkpoint(folder.checkpoints)
        if start.fingerprint != experiment.fingerprint():
            raise FedmetricError(
                f"{out}: the checkpoint was made by another experiment than {out / 'experiment.toml'}, or by another "
                "version of fedmetric"
            )
    folder.forget_after(start.round if start else -1)
    folder.forget_summary()
    return _run(folder, experiment, listen, engine, workers, start, problems, fail_on)


def _run(
    folder: RunFolder,
    experiment: Experiment,
    listen: Emit,
    engine: EngineName,
    workers: int | None,
    start: Checkpoint | None,
    problems: Sequence[str] = (),
    fail_on: str | None = None,
) -> dict[str, Any]:
    began = time.monotonic()
    workers = workers or default_workers()
    if engine == "local" and workers > 1:
        preload()
    last_round, earlier = (start.round, start.seconds) if start else (0, 0.0)

    def emit(event: Mapping[str, Any]) -> None:
        nonlocal last_round
        folder.append(event)
        last_round = event["round"] if event["event"] == "round" else last_round
        listen(event)
        if event["event"] == "alarm" and event["kind"] == fail_on:
            raise CollapseError(f"round {event['round']}: {event['text']}")

    try:
        for problem in problems:
            emit({"event": "warning", "round": last_round, "text": problem})
        report = _engine(engine)(Site(experiment), folder, emit, workers, start)
    except BaseException as error:
        interrupted = isinstance(error, Interrupted | KeyboardInterrupt)
        code = getattr(error, "exit_code", 130 if interrupted else 1)
        seconds = earlier + time.monotonic() - began
        summary = summarise("interrupted" if interrupted else "failed", code, last_round, None, seconds)
        summary["error"] = str(error) or type(error).__name__
        folder.write_summary(summary)
        emit({"event": "end", "round": last_round, "status": summary["status"], "error": summary["error"]})
        raise
    summary = summarise("done", 0, report.rounds, report, report.seconds)
    folder.write_summary(summary)
    emit({"event": "end", "round": report.rounds, "status": "done", "weights_sha256": report.weights_sha256})
    return summary


def _engine(name: EngineName) -> Callable[[Site, RunFolder, Emit, int, Checkpoint | None], Report]:
    if name == "ray":
        from fedmetric.simulations.engines.ray import require_ray, run_ray

        require_ray()
        return run_ray
    from fedmetric.simulations.engines.local import run_local

    return run_local


def summarise(status: str, exit_code: int, rounds: int, report: Report | None, seconds: float) -> dict[str, Any]:
    """Build summary.json: a contract that scripts rely on."""
    rows = {name: as_plain(row) for name, row in report.evaluation.items()} if report else {}
    return {
        "schema": SUMMARY_SCHEMA,
        "status": status,
        "exit_code": exit_code,
        "rounds": rounds,
        "weights_sha256": report.weights_sha256 if report else None,
        "seconds": round(seconds, 3),
        "evaluation": {
            row: {name: {key: score[key] for key in SUMMARY_KEYS} for name, score in scores.items()}
            for row, scores in rows.items()
        },
        "diagnostics": dict(report.diagnostics) if report else {},
        "clients": {
            str(client): {name: score.mean for name, score in scores.items()}
            for client, scores in (report.clients.items() if report else ())
        },
    }
