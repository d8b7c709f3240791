"""Send a round's requests and read the replies in the cohort's order, holding only a few of them at a time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from flwr.app import Message
from flwr.serverapp import Grid

from fedmetric.arrays import check_same
from fedmetric.errors import ProtocolError
from fedmetric.federation.base import Update
from fedmetric.wire import ClientFailure, TrainRequest, read_failure, train_message, unpack_update

POLL_SECONDS = 0.05


def exchange(
    grid: Grid,
    nodes: Sequence[int],
    cohort: Sequence[int],
    request_for: Callable[[int], TrainRequest],
    window: int | None,
) -> Iterator[Update | ClientFailure]:
    """Yield each client's update or failure, in the order of the cohort.

    Args:
        grid: Flower's way to the clients.
        nodes: the node that holds each partition, by client index.
        cohort: clients of the round.
        request_for: builds the request to one client.
        window: messages under way at a time; None sends all at once. Requests and replies in memory are at most this
            many.
    """
    waiting = deque(cohort)
    under_way: deque[tuple[TrainRequest, str]] = deque()
    while waiting or under_way:
        while waiting and (window is None or len(under_way) < window):
            request = request_for(waiting.popleft())
            (identifier,) = grid.push_messages([train_message(request, nodes[request.client])])
            under_way.append((request, identifier))
        request, identifier = under_way.popleft()
        yield _read(_wait(grid, identifier), request)


def _wait(grid: Grid, identifier: str) -> Message:
    while True:
        for reply in grid.pull_messages([identifier]):
            return reply
        time.sleep(POLL_SECONDS)


def _read(reply: Message, request: TrainRequest) -> Update | ClientFailure:
    if reply.has_error():
        return read_failure(reply.error, request.round, request.client)
    try:
        update = unpack_update(reply.content, request.round, request.client)
        check_same(update.arrays, request.shared, "the reply")
        return update
    except ProtocolError as error:
        return ClientFailure(request.client, request.round, "reply", str(error))
