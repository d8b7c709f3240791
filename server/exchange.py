"""Send a round's requests and read the replies in the cohort's order, holding only a few of them at a time."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from threading import Event

import numpy as np
from flwr.app import Message
from flwr.serverapp import Grid

from fedmetric.arrays import Arrays, check_same
from fedmetric.errors import Interrupted, ProtocolError
from fedmetric.federation.base import Update
from fedmetric.wire import ClientFailure, Request, read_failure, request_message, unpack_update

POLL_SECONDS = 0.05


def exchange(
    grid: Grid,
    nodes: Sequence[int],
    cohort: Sequence[int],
    request_for: Callable[[int], Request],
    expected: Arrays,
    window: int | None,
    stop: Event | None = None,
) -> Iterator[Update | ClientFailure]:
    """Yield each client's update or failure, in the order of the cohort.

    Args:
        grid: Flower's way to the clients.
        nodes: the node that holds each partition, by client index.
        cohort: clients of the round.
        request_for: builds the request to one client.
        expected: arrays with the names, shapes and dtypes that every reply must have.
        window: messages under way at a time; None sends all at once. Requests and replies in memory are at most this
            many.
        stop: ends the exchange when set.
    """
    waiting = deque(cohort)
    under_way: deque[tuple[Request, str]] = deque()
    while waiting or under_way:
        while waiting and (window is None or len(under_way) < window):
            request = request_for(waiting.popleft())
            (identifier,) = grid.push_messages([request_message(request, nodes[request.client])])
            under_way.append((request, identifier))
        request, identifier = under_way.popleft()
        yield _read(_wait(grid, identifier, stop), request, expected)


def _wait(grid: Grid, identifier: str, stop: Event | None) -> Message:
    while True:
        if stop is not None and stop.is_set():
            raise Interrupted(signal.SIGTERM)
        for reply in grid.pull_messages([identifier]):
            return reply
        time.sleep(POLL_SECONDS)


def _read(reply: Message, request: Request, expected: Arrays) -> Update | ClientFailure:
    if reply.has_error():
        return read_failure(reply.error, request.round, request.client)
    try:
        update = unpack_update(reply.content, request.round, request.client)
        check_same(update.arrays, expected, "the reply")
        check_finite(update.arrays)
        check_finite(update.extra)
        return update
    except ProtocolError as error:
        return ClientFailure(request.client, request.round, "reply", str(error))


def check_finite(arrays: Arrays) -> None:
    """Refuse weights that would spoil the average of everybody.

    Raises:
        ProtocolError: names the first array with NaN or infinite values.
    """
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise ProtocolError(f"{name} has {int((~np.isfinite(array)).sum())} values that are not finite")
