"""Send a round's requests and read the replies in the cohort's order, holding only a few of them at a time."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import TypeVar

import numpy as np
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedmetric.arrays import Arrays, check_same
from fedmetric.errors import Interrupted, ProtocolError
from fedmetric.federation.base import Update
from fedmetric.wire import ClientFailure, Request, read_failure, request_message, unpack_update

POLL_SECONDS = 0.05
T = TypeVar("T")
Identities = Callable[[int, bytes], bytes]
"""Returns the public key, PEM, that is registered for a client which shows one; b"" for none."""


def on_first_use() -> Identities:
    """Return a register that takes every client's first key for its own, and forgets all when the process ends."""
    known: dict[int, bytes] = {}
    return known.setdefault


@dataclass(frozen=True)
class Clients:
    """The way to the clients.

    Attributes:
        grid: Flower's.
        nodes: the node that holds each partition, by client index; None for a client that has left.
        window: messages under way at a time; None sends all at once. Requests and replies in memory are at most this
            many.
        stop: ends an exchange when set.
        patience: seconds from the first request of an exchange after which a missing reply is a lost client, for good:
            a reply that comes later is never read. None waits for ever.
        gather: called with the cohort before each round; waits until enough of it can be reached.
        identities: the register of the clients' public keys; by default whatever key a client shows first.
    """

    grid: Grid
    nodes: Sequence[int | None]
    window: int | None = None
    stop: Event | None = None
    patience: float | None = None
    gather: Callable[[Sequence[int]], None] = lambda cohort: None
    identities: Identities = field(default_factory=on_first_use)


def exchange(
    clients: Clients, cohort: Sequence[int], request_for: Callable[[int], Request], expected: Arrays
) -> Iterator[Update | ClientFailure]:
    """Yield each client's update or failure, in the order of the cohort.

    Args:
        clients: the way to them.
        cohort: clients of the round.
        request_for: builds the request to one client.
        expected: arrays with the names, shapes and dtypes that every reply must have.
    """
    return ask(clients, cohort, request_for, lambda content, request: read_update(content, request, expected))


def ask(
    clients: Clients,
    cohort: Sequence[int],
    request_for: Callable[[int], Request],
    read: Callable[[RecordDict, Request], T],
) -> Iterator[T | ClientFailure]:
    """Yield what is read of each client's reply, or its failure, in the order of the cohort.

    Args:
        clients: the way to them.
        cohort: clients that are asked.
        request_for: builds the request to one client.
        read: reads what a client wrote; raises ProtocolError for what is not as asked for.
    """
    deadline = None if clients.patience is None else time.monotonic() + clients.patience
    waiting = deque(cohort)
    under_way: deque[tuple[Request, str]] = deque()
    while waiting or under_way:
        while waiting and (clients.window is None or len(under_way) < clients.window):
            request = request_for(waiting.popleft())
            under_way.append((request, _send(clients, request)))
        request, identifier = under_way.popleft()
        yield _reply(clients, request, identifier, deadline, read)


def _reply(
    clients: Clients,
    request: Request,
    identifier: str,
    deadline: float | None,
    read: Callable[[RecordDict, Request], T],
) -> T | ClientFailure:
    """Wait for one reply; whatever its sender wrote, it is read as asked for, or is a failure of that client."""
    if not identifier:
        return _lost(request, "the site is no longer registered")
    try:
        return _read(_wait(clients, identifier, deadline), request, read)
    except Exception as error:  # Flower unpacks what a client sent, and says in many ways that it cannot
        return ClientFailure(request.client, request.round, "reply", f"the reply cannot be read: {error}")


def _send(clients: Clients, request: Request) -> str:
    """Push a request and return the id of the message; empty for a client that has left."""
    node = clients.nodes[request.client]
    if node is None:
        return ""
    (identifier,) = clients.grid.push_messages([request_message(request, node, clients.patience)])
    return identifier


def _wait(clients: Clients, identifier: str, deadline: float | None) -> Message | None:
    """Return the reply to a message, or None if it has not come by the deadline."""
    while True:
        if clients.stop is not None and clients.stop.is_set():
            raise Interrupted(signal.SIGTERM)
        for reply in clients.grid.pull_messages([identifier]):
            return reply
        if deadline is not None and time.monotonic() > deadline:
            return None
        time.sleep(POLL_SECONDS)


def _lost(request: Request, why: str) -> ClientFailure:
    return ClientFailure(request.client, request.round, "transport", why)


def _read(reply: Message | None, request: Request, read: Callable[[RecordDict, Request], T]) -> T | ClientFailure:
    if reply is None:
        return _lost(request, "no reply before the deadline of the round")
    if reply.has_error():
        return read_failure(reply.error, request.round, request.client)
    try:
        return read(reply.content, request)
    except ProtocolError as error:
        return ClientFailure(request.client, request.round, "reply", str(error))


def read_update(content: RecordDict, request: Request, expected: Arrays) -> Update:
    """Read an update.

    Raises:
        ProtocolError: it is not what was asked for.
    """
    update = unpack_update(content, request.round, request.client)
    check_same(update.arrays, expected, "the reply")
    check_finite(update.arrays)
    check_finite(update.extra)
    return update


def check_finite(arrays: Arrays) -> None:
    """Refuse weights that would spoil the average of everybody.

    Raises:
        ProtocolError: names the first array with NaN or infinite values.
    """
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ProtocolError(f"{name} has {int((~np.isfinite(array)).sum())} values that are not finite")
