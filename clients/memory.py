"""A client's own state between rounds, kept in Flower's Context and never sent."""

from __future__ import annotations

from flwr.app import RecordDict

from fedmetric.federation.base import Memory
from fedmetric.wire import pack_arrays, unpack_arrays

RECORD = "memory"


def read_memory(state: RecordDict) -> Memory:
    """Return the arrays kept in a context's state; empty at the first participation."""
    return unpack_arrays(state, RECORD)


def write_memory(state: RecordDict, memory: Memory) -> None:
    """Replace the arrays kept in a context's state."""
    state[RECORD] = pack_arrays(memory)
