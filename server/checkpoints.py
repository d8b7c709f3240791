"""Checkpoints: everything that the next round needs, written so that a kill at any moment leaves a whole one behind."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fedmetric.arrays import Arrays, load_arrays, save_arrays, sha256_of
from fedmetric.durable import flush
from fedmetric.errors import FedmetricError
from fedmetric.federation.base import Memory, State
from fedmetric.server.standing import NO_STANDING, Standing

KEPT = 2
META = "meta.json"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after a round.

    Attributes:
        round: the last finished round; 0 before the first.
        shared: the server's weights.
        state: the rule's server state.
        memories: every client's own state, by client.
        fingerprint: of the experiment.
        class_hashes: of the classes trained on.
        seconds: time spent so far.
        standing: what is remembered of the clients.
        ledger: head of the privacy ledger when it was written; "" without one.
    """

    round: int
    shared: Arrays
    state: State
    memories: Mapping[int, Memory] = field(default_factory=dict)
    fingerprint: str = ""
    class_hashes: tuple[str, ...] = ()
    seconds: float = 0.0
    standing: Standing = NO_STANDING
    ledger: str = ""


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint under a temporary name, flush it to disk, rename it, then drop all but the last two."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"round-{checkpoint.round:04d}"
    temporary = folder / f".writing-{checkpoint.round:04d}"
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "clients").mkdir(parents=True)
    sets = {"shared": checkpoint.shared, "state": checkpoint.state}
    sets |= {f"clients/{client}": memory for client, memory in checkpoint.memories.items()}
    for name, arrays in sets.items():
        save_arrays(temporary / f"{name}.safetensors", arrays)
    meta = {
        "round": checkpoint.round,
        "fingerprint": checkpoint.fingerprint,
        "class_hashes": list(checkpoint.class_hashes),
        "seconds": checkpoint.seconds,
        "standing": checkpoint.standing.to_plain(),
        "ledger": checkpoint.ledger,
        "sha256": {name: sha256_of(arrays) for name, arrays in sets.items()},
    }
    (temporary / META).write_text(json.dumps(meta), encoding="utf-8")
    for path in temporary.rglob("*"):
        flush(path)
    shutil.rmtree(place, ignore_errors=True)
    temporary.rename(place)
    flush(folder)
    for old in checkpoint_folders(folder)[:-KEPT]:
        shutil.rmtree(old)
    return place


def checkpoint_folders(folder: Path) -> list[Path]:
    """List finished checkpoints, oldest first."""
    finished = (place for place in folder.glob("round-*") if re.fullmatch(r"round-\d{4,}", place.name))
    return sorted(finished, key=lambda place: int(place.name.removeprefix("round-")))


def load_checkpoint(place: Path) -> Checkpoint:
    """Read one checkpoint and compare every file with its sha256.

    Raises:
        FedmetricError: something is missing or was changed.
    """
    try:
        meta = json.loads((place / META).read_text(encoding="utf-8"))
        sets = {name: load_arrays(place / f"{name}.safetensors") for name in meta["sha256"]}
    except (OSError, ValueError, KeyError) as error:
        raise FedmetricError(f"{place}: not a whole checkpoint: {error}") from error
    for name, digest in meta["sha256"].items():
        if sha256_of(sets[name]) != digest:
            raise FedmetricError(f"{place}: {name}.safetensors was changed after it was written")
    memories = {
        int(name.removeprefix("clients/")): arrays for name, arrays in sets.items() if name.startswith("clients/")
    }
    return Checkpoint(
        meta["round"],
        sets["shared"],
        sets["state"],
        memories,
        meta["fingerprint"],
        tuple(meta["class_hashes"]),
        meta["seconds"],
        Standing.from_plain(meta["standing"]),
        meta["ledger"],
    )


def latest_checkpoint(folder: Path) -> tuple[Checkpoint, list[str]]:
    """Read the newest whole checkpoint; return it and what was wrong with newer ones.

    Raises:
        FedmetricError: there is none.
    """
    problems: list[str] = []
    for place in reversed(checkpoint_folders(folder)):
        try:
            return load_checkpoint(place), problems
        except FedmetricError as error:
            problems.append(str(error))
    raise FedmetricError("\n".join([f"{folder}: no checkpoint to resume from", *problems]))
