"""The folder of a run: the experiment, one line for each event, checkpoints, books, the summary and the model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedmetric.config import Experiment, load_experiment
from fedmetric.errors import FedmetricError, UsageError

SUMMARY_SCHEMA = 1
EXPERIMENT, EVENTS, SUMMARY = "experiment.toml", "events.jsonl", "summary.json"
LEDGER, MANIFEST = "ledger.jsonl", "manifest.jsonl"
MODEL, WEIGHTS, ABOUT = "model", "model.safetensors", "model.json"


def find_model(folder: Path) -> Path:
    """Return the model folder of a run's folder, or the folder itself."""
    return folder / MODEL if (folder / MODEL).is_dir() else folder


def description_of(folder: Path) -> dict[str, Any]:
    """Read what stands beside a model's weights: "experiment", "channels", "weights_sha256", "trained_class_hashes".

    Raises:
        FedmetricError: it cannot be read, or lacks one of them.
    """
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        return {key: about[key] for key in ("experiment", "channels", "weights_sha256", "trained_class_hashes")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FedmetricError(f"{folder}: not a model folder: {error}") from error


class RunFolder:
    """Paths and files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, experiment: Experiment) -> RunFolder:
        """Make the folder of a new run.

        Raises:
            UsageError: it holds a run, or other files, already, or cannot be written.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            hint = "continue it with 'fedmetric resume', or " if (path / EXPERIMENT).is_file() else ""
            raise UsageError(f"{path} is not empty; {hint}choose another --out")
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / EXPERIMENT).write_text(experiment.to_toml(), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path} cannot be made a run folder: {error}; choose another --out") from error
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open the folder of an earlier run.

        Raises:
            UsageError: there is no run in it.
        """
        if not (path / EXPERIMENT).is_file():
            raise UsageError(f"{path} is not the folder of a run: it has no {EXPERIMENT}")
        return cls(path)

    @property
    def experiment(self) -> Experiment:
        """The resolved experiment."""
        return load_experiment(self.path / EXPERIMENT)

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The folder of the exported model."""
        return self.path / MODEL

    @property
    def ledger(self) -> Path:
        """What the run has cost in privacy."""
        return self.path / LEDGER

    @property
    def manifest(self) -> Path:
        """What has left each client."""
        return self.path / MANIFEST

    def append(self, event: Mapping[str, Any]) -> None:
        """Add one event as a line and flush it to disk."""
        with (self.path / EVENTS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(event, sort_keys=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def events(self) -> list[dict[str, Any]]:
        """Read all events; a line cut off by a crash is left out."""
        place = self.path / EVENTS
        if not place.is_file():
            return []
        found = []
        for line in place.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def forget_after(self, round: int) -> None:
        """Drop the events of rounds after this one: they will happen again."""
        kept = [event for event in self.events() if event.get("round", 0) <= round and event["event"] != "end"]
        temporary = self.path / f".{EVENTS}"
        temporary.write_text("".join(json.dumps(event, sort_keys=True) + "\n" for event in kept), encoding="utf-8")
        temporary.replace(self.path / EVENTS)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace summary.json in one step."""
        temporary = self.path / f".{SUMMARY}"
        temporary.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        temporary.replace(self.path / SUMMARY)

    def forget_summary(self) -> None:
        """Remove summary.json: the run goes on."""
        (self.path / SUMMARY).unlink(missing_ok=True)

    def summary(self) -> dict[str, Any] | None:
        """Read summary.json, or return None when the run has not ended."""
        place = self.path / SUMMARY
        return json.loads(place.read_text(encoding="utf-8")) if place.is_file() else None
