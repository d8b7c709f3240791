"""Where a client's own state is kept between rounds: in Flower's Context, or in files at a deployed client.

A SuperNode starts a new process for every message and holds contexts in memory only, so a deployed client has a folder
of its own: its targets, queues and control variates then survive a restart.
It is not sent; see `fedmetric.federation.memory` for what a rule may derive from it and upload.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from flwr.app import Context, RecordDict
from safetensors.numpy import save

from fedmetric.arrays import Arrays, load_arrays, save_arrays
from fedmetric.deployment.private_files import write_private
from fedmetric.durable import flush
from fedmetric.errors import FedmetricError
from fedmetric.federation.memory import ClientState
from fedmetric.wire import pack_arrays, unpack_arrays

RECORD = "memory"
KEPT = 2


def read_memory(state: RecordDict) -> Arrays:
    """Return the arrays kept in a context's state; empty at the first participation."""
    return unpack_arrays(state, RECORD)


def write_memory(state: RecordDict, memory: Arrays) -> None:
    """Replace the arrays kept in a context's state."""
    state[RECORD] = pack_arrays(memory)


class Store(Protocol):
    """A place for the state of one client in one run."""

    def read(self, round: int) -> ClientState:
        """Return the state before a round; an empty one when there is none."""
        ...

    def write(self, state: ClientState) -> None:
        """Keep the state after a round."""
        ...

    def read_kept(self, name: str) -> Arrays:
        """Return what is kept under a name beside the state; empty when there is nothing."""
        ...

    def write_kept(self, name: str, arrays: Arrays) -> None:
        """Keep secrets between two messages: neither sent nor put into a checkpoint."""
        ...


class ContextStore:
    """Keep the state in Flower's Context; the local engine puts it into checkpoints."""

    def __init__(self, context: Context, client: int) -> None:
        self._state, self._client = context.state, client

    def read(self, round: int) -> ClientState:
        """Return the state; see `Store`."""
        return ClientState.from_arrays(read_memory(self._state), self._client)

    def write(self, state: ClientState) -> None:
        """Keep the state; see `Store`."""
        write_memory(self._state, state.to_arrays())

    def read_kept(self, name: str) -> Arrays:
        """Return what is kept; see `Store`."""
        return unpack_arrays(self._state, f"kept.{name}")

    def write_kept(self, name: str, arrays: Arrays) -> None:
        """Keep it in another record than that of the checkpoints; see `Store`."""
        self._state[f"kept.{name}"] = pack_arrays(arrays)


class DiskStore:
    """Keep the state in a folder, one safetensors file for each of the last two rounds.

    Two, because a server that resumes from a checkpoint asks for a round again: then the file of a round before it is
    what the client must start from.
    """

    def __init__(self, folder: Path, fingerprint: str, client: int) -> None:
        """Name the place; it is made when first written.

        Args:
            folder: the client's own.
            fingerprint: of the experiment: another experiment has another state.
            client: index of the data partition.
        """
        self._folder, self._client = folder / fingerprint[:16] / f"client-{client:05d}", client

    def _files(self) -> dict[int, Path]:
        """Return the files by round, oldest first."""
        found = self._folder.glob("round-*.safetensors")
        return {int(path.stem.removeprefix("round-")): path for path in sorted(found)}

    def read(self, round: int) -> ClientState:
        """Return the newest whole state from before this round; see `Store`."""
        for number, path in reversed(self._files().items()):
            if number < round:
                try:
                    return ClientState.from_arrays(load_arrays(path), self._client)
                except FedmetricError:
                    continue  # damaged: an older one is better than none
        return ClientState(self._client)

    def write(self, state: ClientState) -> None:
        """Write under a temporary name, flush, rename, then drop all but the last two; see `Store`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        place = self._folder / f"round-{state.last_round:08d}.safetensors"
        temporary = place.with_suffix(".writing")
        save_arrays(temporary, state.to_arrays())
        flush(temporary)
        temporary.replace(place)
        files = self._files()
        from_the_future = [number for number in files if number > state.last_round]  # the server went back
        outdated = [number for number in files if number <= state.last_round][:-KEPT]
        for number in from_the_future + outdated:
            files[number].unlink()

    def read_kept(self, name: str) -> Arrays:
        """Return what is kept; see `Store`."""
        place = self._folder / f"{name}.safetensors"
        return load_arrays(place) if place.exists() else {}

    def write_kept(self, name: str, arrays: Arrays) -> None:
        """Write a file that only its owner may read, flushed before it gets its name; see `Store`."""
        self._folder.mkdir(parents=True, exist_ok=True)
        content = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
        write_private(self._folder / f"{name}.safetensors", save(content))


def store_for(context: Context, folder: Path | None, fingerprint: str, client: int) -> Store:
    """Return the store in a client's folder, or in its context if it has none."""
    return DiskStore(folder, fingerprint, client) if folder else ContextStore(context, client)
