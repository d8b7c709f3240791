"""A client's state in one secure aggregation, kept as arrays because its process may end between two messages.

It holds secrets: it stays on the client, in its memory or in a file that only its user can read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.errors import ProtocolError
from fedmetric.privacy.secure.terms import Terms

_SECRETS = ("share_private", "mask_private", "self_seed")
_TABLES = ("share_keys", "mask_keys", "key_shares", "seed_shares")


class Stage(IntEnum):
    """The stages of an aggregation in their order; a state names the next one."""

    ADVERTISE = 0
    SHARE = 1
    MASK = 2
    UNMASK = 3
    DONE = 4


@dataclass
class ClientState:
    """What a client knows between two messages; secrets are deleted as soon as no later stage needs them.

    Attributes:
        terms: those of the aggregation.
        client: its own number.
        stage: the one that comes next.
        share_private: X25519 private key for sealing; 32 bytes, or none.
        mask_private: X25519 private key for pairwise masks; 32 bytes, or none.
        self_seed: seed of its self mask; 32 bytes, or none.
        share_keys: public share key of each client that advertised, 32 bytes.
        mask_keys: public mask key of each client that advertised, 32 bytes.
        key_shares: its shares of other clients' private mask keys, 33 bytes.
        seed_shares: its shares of the self-mask seeds, its own included, 33 bytes.
    """

    terms: Terms
    client: int
    stage: Stage = Stage.ADVERTISE
    share_private: bytes = b""
    mask_private: bytes = b""
    self_seed: bytes = b""
    share_keys: dict[int, bytes] = field(default_factory=dict)
    mask_keys: dict[int, bytes] = field(default_factory=dict)
    key_shares: dict[int, bytes] = field(default_factory=dict)
    seed_shares: dict[int, bytes] = field(default_factory=dict)

    def to_arrays(self) -> Arrays:
        """Write the state as arrays of uint8 and, for clients' numbers, uint64."""
        arrays: Arrays = {
            "terms": np.frombuffer(self.terms.to_json(), dtype=np.uint8),
            "client": np.array([self.client], dtype=np.uint64),
            "stage": np.array([self.stage], dtype=np.uint8),
        }
        for name in _SECRETS:
            arrays[name] = np.frombuffer(getattr(self, name), dtype=np.uint8)
        for name in _TABLES:
            table: dict[int, bytes] = getattr(self, name)
            width = len(next(iter(table.values()), b""))
            arrays[name] = np.frombuffer(b"".join(table.values()), dtype=np.uint8).reshape(len(table), width)
            arrays[f"{name}.clients"] = np.array(list(table), dtype=np.uint64)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> ClientState:
        """Read what `to_arrays` wrote.

        Raises:
            ProtocolError: an array is missing, or holds something else.
        """
        try:
            state = cls(
                Terms.from_json(arrays["terms"].tobytes()), int(arrays["client"].item()), Stage(arrays["stage"].item())
            )
            for name in _SECRETS:
                setattr(state, name, arrays[name].tobytes())
            for name in _TABLES:
                setattr(state, name, _table(arrays, name))
            return state
        except (KeyError, ValueError) as error:
            raise ProtocolError(f"the kept state of a secure aggregation cannot be read: {error}") from error


def _table(arrays: Arrays, name: str) -> Mapping[int, bytes]:
    clients, rows = arrays[f"{name}.clients"], arrays[name]
    return {int(client): row.tobytes() for client, row in zip(clients, rows, strict=True)}
