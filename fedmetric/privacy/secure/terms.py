"""What all clients and the server of one secure aggregation agree on before its first message.

Every signature and every derived key is bound to the terms, so that a server which tells two clients different ones is
refused by both, and a message of another run or round is worth nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from fedmetric.errors import ProtocolError
from fedmetric.privacy.secure.fixed_point import levels_per_unit

PROTOCOL = "fedmetric secure aggregation 1"
MINIMUM_CLIENTS = 3
"""In the sum of two, each learns the other's vector by subtracting its own."""
MAXIMUM_CLIENTS = 65_536
"""Leaves each of them 15 bits and a sign in 32-bit fixed point."""
MAXIMUM_CLIENT = 2**64 - 1


@dataclass(frozen=True)
class Terms:
    """The terms of one secure aggregation; equal on the server and on all clients.

    Attributes:
        run: name of the run; with the round it is used for one aggregation only.
        round: server round from 1.
        num_clients: size of the cohort that is asked, from 3; dropouts do not lower it.
        threshold: fewest clients that must answer at each stage; from 3, and more than half of the cohort.
        length: numbers in each client's vector, from 1.
        clip: largest L2 norm of a client's vector; positive and finite.

    Raises:
        ProtocolError: a value is outside its range.
    """

    run: str
    round: int
    num_clients: int
    threshold: int
    length: int
    clip: float

    def __post_init__(self) -> None:
        for name in ("round", "num_clients", "threshold", "length"):
            object.__setattr__(self, name, int(getattr(self, name)))  # a numpy integer has no JSON
        object.__setattr__(self, "clip", float(self.clip))
        if not MINIMUM_CLIENTS <= self.num_clients <= MAXIMUM_CLIENTS:
            raise ProtocolError(
                f"secure aggregation of {self.num_clients} clients; it needs {MINIMUM_CLIENTS} to {MAXIMUM_CLIENTS}"
            )
        lowest = lowest_threshold(self.num_clients)
        if not lowest <= self.threshold <= self.num_clients:
            raise ProtocolError(
                f"threshold {self.threshold} of {self.num_clients} clients; it must be {lowest} to {self.num_clients}"
            )
        if self.round < 1 or self.length < 1:
            raise ProtocolError(f"round {self.round} and vectors of length {self.length}; both are 1 or more")
        levels_per_unit(self.clip, self.num_clients)

    def context(self, purpose: str, *clients: int) -> bytes:
        """Return bytes that differ for every other terms, purpose or clients; signed, or hashed into keys."""
        return json.dumps([PROTOCOL, purpose, *asdict(self).values(), list(clients)]).encode()

    def to_json(self) -> bytes:
        """Write the terms as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Terms:
        """Read what `to_json` wrote.

        Raises:
            ProtocolError: it is no such JSON, or a value is outside its range.
        """
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise ProtocolError(f"these are no terms of secure aggregation: {error}") from error


def default_threshold(num_clients: int) -> int:
    """Return the smallest whole number above two thirds of the cohort: 3 of 3 and of 4, 7 of 10, 67 of 100.

    A server that colludes with fewer than a third of the clients can then not collect both secrets of another.
    """
    return 2 * num_clients // 3 + 1


def lowest_threshold(num_clients: int) -> int:
    """Return the smallest threshold that is allowed.

    Two sets of more than half of the clients have one in common, and no client gives both secrets of another: both
    are never collected. Fewer than 3 would add up two vectors only.
    """
    return max(MINIMUM_CLIENTS, num_clients // 2 + 1)


def threshold_of(num_clients: int, wanted: int = 0) -> int:
    """Return the threshold of a cohort: the default, or the one that is wanted, raised to what is allowed.

    Cohorts may differ in size. Of one that is too small, it is more than the clients that there are.

    Args:
        num_clients: of the cohort.
        wanted: 0 for the default.
    """
    return max(wanted or default_threshold(num_clients), lowest_threshold(num_clients))


def check_clients(clients: Iterable[int]) -> frozenset[int]:
    """Return the clients as a set.

    Raises:
        ProtocolError: one is named twice, or is no unsigned 64-bit number.
    """
    named = list(clients)
    for client in named:
        if not 0 <= client <= MAXIMUM_CLIENT:
            raise ProtocolError(f"client {client}; clients are numbered from 0 to 2^64 - 1")
    twice = sorted({client for client in named if named.count(client) > 1}) if len(set(named)) < len(named) else []
    if twice:
        raise ProtocolError(f"clients named twice: {twice}")
    return frozenset(named)
