"""The events of a run as plain values: what goes into events.jsonl and onto the screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from fedmetric.arrays import num_bytes
from fedmetric.config import Experiment
from fedmetric.evaluation.base import Scores
from fedmetric.server.checkpoints import Checkpoint
from fedmetric.server.rounds import RoundOutcome
from fedmetric.training.optimiser import learning_rate
from fedmetric.training.site import Site

Emit = Callable[[Mapping[str, Any]], None]


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
        "notes": [*site.dataset.notes, *_notes_on_start(site)],
    }


def _notes_on_start(site: Site) -> list[str]:
    if site.trained_before is None:
        return ["nothing beside start.weights says which classes it was trained on; see that none is evaluated"]
    return []


def round_event(
    experiment: Experiment, round: int, outcome: RoundOutcome, diagnostics: Mapping[str, float], seconds: float
) -> dict[str, Any]:
    """Describe a finished round."""
    losses = np.asarray(outcome.losses)
    rounds = experiment.federation.rounds
    return {
        "event": "round",
        "round": round,
        "rounds": rounds,
        "ok": outcome.replied,
        "counted": outcome.counted,
        "failed": len(outcome.failures),
        "failures": [str(failure) for failure in outcome.failures],
        "loss": float(losses.mean()) if len(losses) else None,
        "loss_spread": float(losses.std()) if len(losses) else None,
        "lr": learning_rate(experiment.local, round, rounds),
        "examples": outcome.examples,
        "shrunk": outcome.shrunk,
        "bytes_down": outcome.bytes_down,
        "bytes_up": outcome.bytes_up,
        "diagnostics": dict(diagnostics),
        "clients": {name: spread_of(values) for name, values in outcome.reported.items()},
        "figures": dict(outcome.figures),
        **outcome.drift,
        "seconds": seconds,
    }


def spread_of(values: tuple[float, ...]) -> dict[str, float]:
    """Return mean, smallest and largest."""
    return {"mean": float(np.mean(values)), "min": float(np.min(values)), "max": float(np.max(values))}


def evaluation_event(round: int, scores: Scores, diagnostics: Scores) -> dict[str, Any]:
    """Describe an evaluation."""
    return {
        "event": "evaluation",
        "round": round,
        "scores": as_plain(scores),
        "diagnostics": {name: score.mean for name, score in diagnostics.items()},
    }
