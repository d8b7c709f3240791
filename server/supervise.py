"""A run from its folder to its summary: whoever conducts it, the summary tells the truth however the run ends."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedmetric.config import Experiment
from fedmetric.errors import CollapseError, FedmetricError, Interrupted, UsageError
from fedmetric.runs import SUMMARY_SCHEMA, RunFolder
from fedmetric.server.checkpoints import Checkpoint, checkpoint_folders, latest_checkpoint
from fedmetric.server.conductor import conducting, is_conducted
from fedmetric.server.events import Emit, as_plain
from fedmetric.server.loop import Report

SUMMARY_KEYS = ("mean", "ci95", "n")

Conduct = Callable[[Emit, Checkpoint | None], Report]
"""Runs an experiment: is given where events go and a checkpoint to continue from, and returns the report."""


@dataclass(frozen=True)
class Beginning:
    """Where a run begins or goes on.

    Attributes:
        folder: of the run.
        experiment: what is run.
        start: the checkpoint to continue from; None for the beginning.
        problems: what was wrong with newer checkpoints.
    """

    folder: RunFolder
    experiment: Experiment
    start: Checkpoint | None = None
    problems: Sequence[str] = ()


def go_on(path: Path) -> Beginning:
    """Open a run that has not been finished at its newest whole checkpoint, or at the beginning when it has none.

    Events after the checkpoint are dropped: they will happen again.

    Raises:
        UsageError: the folder is no run, or the run is done or being conducted already.
        FedmetricError: the checkpoint belongs to another experiment.
    """
    folder = RunFolder.open(path)
    if is_conducted(path):
        raise UsageError(f"{path} is being conducted by another process already; wait for it, or end it")
    experiment = folder.experiment
    summary = folder.summary()
    if summary and summary["status"] == "done":
        raise UsageError(
            f"{path} is done: {summary['rounds']} rounds, sha256 {summary['weights_sha256'][:12]}; nothing to resume"
        )
    start: Checkpoint | None = None
    problems: list[str] = []
    if checkpoint_folders(folder.checkpoints):
        start, problems = latest_checkpoint(folder.checkpoints)
        if start.fingerprint != experiment.fingerprint():
            raise FedmetricError(
                f"{path}: the checkpoint was made by another experiment than {path / 'experiment.toml'}, or by another "
                "version of fedmetric"
            )
    folder.forget_after(start.round if start else -1)
    folder.forget_summary()
    return Beginning(folder, experiment, start, problems)


def supervise(beginning: Beginning, listen: Emit, conduct: Conduct, fail_on: str | None = None) -> dict[str, Any]:
    """Let a run be conducted, keep its events and its summary, and return the summary.

    Args:
        beginning: where it begins.
        listen: called with every event, after it was written to the folder.
        conduct: does the work.
        fail_on: the kind of alarm that ends the run, or None.

    Raises:
        CollapseError: the alarm that `fail_on` names went off; the last round is in a checkpoint.
        FedmetricError: the run failed; its summary says how.
    """
    began = time.monotonic()
    folder, start = beginning.folder, beginning.start
    last_round, earlier = (start.round, start.seconds) if start else (0, 0.0)

    def emit(event: Mapping[str, Any]) -> None:
        nonlocal last_round
        folder.append(event)
        listen(event)
        last_round = event["round"] if event["event"] == "round" else last_round
        if event["event"] == "alarm" and event["kind"] == fail_on:
            raise CollapseError(f"round {event['round']}: {event['text']}")

    with conducting(folder.path):
        try:
            for problem in beginning.problems:
                emit({"event": "warning", "round": last_round, "text": problem})
            report = conduct(emit, start)
        except BaseException as error:
            interrupted = isinstance(error, Interrupted | KeyboardInterrupt)
            code = getattr(error, "exit_code", 130 if interrupted else 1)
            seconds = earlier + time.monotonic() - began
            summary = summarise("interrupted" if interrupted else "failed", code, last_round, None, seconds)
            summary["error"] = str(error) or type(error).__name__
            with suppress(OSError):  # a full disk takes no summary either; what ended the run is said all the same
                folder.write_summary(summary)
                emit({"event": "end", "round": last_round, "status": summary["status"], "error": summary["error"]})
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise FedmetricError(
                    f"{error}; the last whole checkpoint is kept: resume when there is room"
                ) from error
            raise
        summary = summarise("done", 0, report.rounds, report, report.seconds)
        folder.write_summary(summary)
        emit({"event": "end", "round": report.rounds, "status": "done", "weights_sha256": report.weights_sha256})
        return summary


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
        "privacy": dict(report.privacy) if report else {},
        "clients": {
            str(client): {name: score.mean for name, score in scores.items()}
            for client, scores in (report.clients.items() if report else ())
        },
    }
