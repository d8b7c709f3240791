"""One secure aggregation over messages: four exchanges, after which the server has the sum and nothing else.

A client that fails at any stage is out. Each exchange has the patience of a round of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from flwr.app import RecordDict
from numpy.typing import NDArray

from fedmetric.arrays import check_same, num_bytes
from fedmetric.deployment.certificates import is_signed
from fedmetric.errors import ProtocolError
from fedmetric.federation.base import Update
from fedmetric.privacy.secure.server import BelowThresholdError, ServerRound
from fedmetric.privacy.secure.tables import (
    MASKED,
    NO_TABLES,
    Tables,
    num_table_bytes,
    pack_advertised,
    pack_roll,
    pack_terms,
    read_advertised,
    read_unmasking,
    table_of,
)
from fedmetric.privacy.secure.terms import Terms
from fedmetric.server.exchange import Clients, T, ask, read_update
from fedmetric.wire import Answer, ClientFailure, Request, Task, unpack_answer

RequestFor = Callable[[int, Task, Tables], Request]


@dataclass
class SecureSum:
    """What the server has learnt.

    Attributes:
        total: (N,) float64, the sum; None where there is none.
        survivors: whose moves are in it.
        refusal: why there is no sum, in words.
        failures: of clients, at any stage; one that fails after its vector came is in the sum all the same.
        bytes_down: sent, in bytes.
        bytes_up: received, in bytes.
    """

    total: NDArray[np.float64] | None = None
    survivors: tuple[int, ...] = ()
    refusal: str = ""
    failures: list[ClientFailure] = field(default_factory=list)
    bytes_down: int = 0
    bytes_up: int = 0


class Aggregation:
    """Ask a cohort for the sum of its moves.

    Attributes:
        found: what the server has learnt so far.
    """

    def __init__(self, clients: Clients, cohort: Sequence[int], terms: Terms, request_for: RequestFor) -> None:
        """Take what is needed.

        Args:
            clients: the way to them.
            cohort: clients that are asked.
            terms: of the aggregation.
            request_for: builds the request to one client for one stage, with these tables.
        """
        self.found = SecureSum()
        self._clients, self._cohort, self._terms, self._request_for = clients, cohort, terms, request_for
        self._keys: dict[int, bytes] = {}
        self._server = ServerRound(terms, cohort, self._verify)

    def collect(self, most_lost: float, note: Callable[[Update], None]) -> SecureSum:
        """Go through the four stages and return the sum, or why there is none.

        Args:
            most_lost: share of the cohort that may be lost; if more is, the masked vectors are left masked.
            note: called with every masked vector as it comes.
        """
        try:
            self._collect(most_lost, note)
        except (BelowThresholdError, ProtocolError) as error:
            self.found.refusal = str(error)
        return self.found

    def _collect(self, most_lost: float, note: Callable[[Update], None]) -> None:
        server, vector = self._server, {MASKED: np.zeros(self._terms.length, np.uint32)}

        def read_masked(content: RecordDict, request: Request) -> Update:
            update = read_update(content, request, vector)
            check_same(update.extra, {}, "what is uploaded beside the masked vector")
            return update

        def take_masked(update: Update) -> None:
            server.receive_masked(update.client, update.arrays[MASKED])
            note(update)
            self.found.bytes_up += num_bytes(update.arrays)

        self._stage("advertise", lambda client: NO_TABLES, read_answer, self._take_advertisement)
        everybody = pack_advertised(server.close_advertise(), self._keys)
        self._stage("share", lambda client: everybody, read_answer, self._take_shares)
        sealed = server.close_share()
        self._stage("train", lambda client: {"sealed": sealed[client]}, read_masked, take_masked)
        roll = server.close_mask()
        lost = len(self._cohort) - len(roll.survivors)
        if lost > most_lost * len(self._cohort):
            self.found.refusal = (
                f"{lost} of {len(self._cohort)} clients were lost, more than federation.max_lost={most_lost:g} allows"
            )
            return
        self._stage("unmask", lambda client: pack_roll(roll), read_answer, self._take_unmasking)
        self.found.total, self.found.survivors = server.close_unmask(), roll.survivors

    def _stage(
        self,
        task: Task,
        tables_of: Callable[[int], Tables],
        read: Callable[[RecordDict, Request], T],
        take: Callable[[T], None],
    ) -> None:
        """Ask all that are still in, and take what they answer; one that is refused counts as one that failed."""

        def request_for(client: int) -> Request:
            request = self._request_for(client, task, {**pack_terms(self._terms), **tables_of(client)})
            self.found.bytes_down += (
                num_bytes(request.shared) + num_bytes(request.extra) + num_table_bytes(request.secure)
            )
            return request

        asked = [client for client in self._cohort if client in self._server.clients]
        for client, reply in zip(asked, ask(self._clients, asked, request_for, read), strict=True):
            if isinstance(reply, ClientFailure):
                self.found.failures.append(reply)
                continue
            try:
                take(reply)
            except ProtocolError as error:
                self.found.failures.append(ClientFailure(client, self._terms.round, "reply", str(error)))

    def _take_advertisement(self, answer: Answer) -> None:
        advertised, shown = read_advertised(answer.secure)
        if [one.client for one in advertised] != [answer.client]:
            raise ProtocolError(f"client {answer.client} advertised keys of {[one.client for one in advertised]}")
        self._keys[answer.client] = self._clients.identities(answer.client, shown[answer.client])
        self._server.receive_advertisement(advertised[0])
        self.found.bytes_up += num_table_bytes(answer.secure)

    def _take_shares(self, answer: Answer) -> None:
        self._server.receive_shares(answer.client, table_of(answer.secure, "sealed"))
        self.found.bytes_up += num_table_bytes(answer.secure)

    def _take_unmasking(self, answer: Answer) -> None:
        self._server.receive_unmasking(answer.client, read_unmasking(answer.secure))
        self.found.bytes_up += num_table_bytes(answer.secure)

    def _verify(self, client: int, message: bytes, signature: bytes) -> bool:
        return is_signed(self._keys.get(client, b""), message, signature)


def read_answer(content: RecordDict, request: Request) -> Answer:
    """Read what a client says at a stage.

    Raises:
        ProtocolError: it is not what was asked for.
    """
    return unpack_answer(content, request.round, request.client)
