"""Replies of a hostile client: each is refused, and the round is bit for bit the round without that client."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord

from fedmetric.arrays import sha256_of
from fedmetric.federation.base import FederationRule, RuleContext, Update
from fedmetric.layout import Layout, routes
from fedmetric.server.exchange import Clients
from fedmetric.server.rounds import Plan, RoundOutcome, run_round
from fedmetric.simulations.engines.grid import identify_process
from fedmetric.wire import PROTOCOL, ClientFailure, failure_reply, pack_update, unpack_request
from tiny import tiny

SHARED = {"w": np.zeros((2, 3), np.float32), "count": np.array(1, np.int64)}
LAYOUT = Layout({"w": "backbone", "count": "backbone"}, parameters=frozenset({"w"}))
PLAN = Plan(tiny("federation.accept.examples=1000"), FederationRule(RuleContext(LAYOUT)), LAYOUT, routes(LAYOUT))
Answer = Callable[[Message], Message]


def honest(client: int, **changes: Any) -> Update:
    arrays = {"w": np.full((2, 3), 0.1 * (client + 1), np.float32), "count": np.array(2, np.int64)}
    return replace(Update(client, arrays, 10, metrics={"loss": 1.0}), **changes)


def replying(**changes: Any) -> Answer:
    return lambda message: Message(pack_update(honest(1, **changes), 1), reply_to=message)


def with_arrays(**arrays: Any) -> Answer:
    return replying(arrays={name: array for name, array in (honest(1).arrays | arrays).items() if array is not None})


def with_metrics(**values: Any) -> Answer:
    def answer(message: Message) -> Message:
        content = pack_update(honest(1), 1)
        content["metrics"] = MetricRecord(values)
        return Message(content, reply_to=message)

    return answer


def with_config(**values: Any) -> Answer:
    def answer(message: Message) -> Message:
        content = pack_update(honest(1), 1)
        for key, value in values.items():
            content.config_records["config"][key] = value
        return Message(content, reply_to=message)

    return answer


def with_bytes(data: bytes, stype: str = "numpy.ndarray") -> Answer:
    def answer(message: Message) -> Message:
        content = pack_update(honest(1), 1)
        good = content.array_records["arrays"]["count"]
        content["arrays"] = ArrayRecord({"w": Array("float32", (2, 3), stype, data), "count": good})
        return Message(content, reply_to=message)

    return answer


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle of a client was opened",))


def pickled_array() -> bytes:
    stream = BytesIO()
    np.save(stream, np.array([Bomb()], dtype=object), allow_pickle=True)
    return stream.getvalue()


def lying_header() -> bytes:
    """An array that says it has 10^12 numbers and holds six."""
    stream = BytesIO()
    np.save(stream, np.zeros((2, 3), np.float32))
    return stream.getvalue().replace(b"(2, 3)", b"(9**9,)"[:6].ljust(6))


FULL = np.full((2, 3), 1.0, np.float32)
HOSTILE: dict[str, Answer] = {
    "NaN": with_arrays(w=FULL * np.nan),
    "infinity": with_arrays(w=FULL * np.inf),
    "another shape": with_arrays(w=np.zeros((3, 2), np.float32)),
    "a shape that numpy would broadcast": with_arrays(w=np.zeros((1, 3), np.float32)),
    "another dtype": with_arrays(w=np.zeros((2, 3), np.float64)),
    "an object dtype": with_bytes(pickled_array()),
    "a pickle in place of an array": with_bytes(pickle.dumps(Bomb())),
    "an unknown serialisation": with_bytes(b"", "os.system"),
    "a header that lies": with_bytes(lying_header()),
    "nothing in place of an array": with_bytes(b""),
    "a missing array": with_arrays(w=None),
    "an array more": with_arrays(extra=np.zeros(3, np.float32)),
    "something beside the weights": replying(extra={"notes": np.zeros(2, np.float32)}),
    "no images": replying(num_examples=0),
    "a negative number of images": replying(num_examples=-5),
    "more images than are accepted": replying(num_examples=10**12),
    "half an image": with_metrics(**{"num-examples": 10.5}),
    "no number of images": with_metrics(loss=1.0),
    "a list of numbers of images": with_metrics(**{"num-examples": [1, 2]}),
    "another round": with_config(round=2),
    "another client": with_config(client=0),
    "another protocol": with_config(protocol=PROTOCOL + 1),
    "text in place of the round": with_config(round="1"),
    "no records at all": lambda message: Message(type(pack_update(honest(1), 1))(), reply_to=message),
}


class HostileGrid:
    """Clients 0 and 2 are honest; client 1 answers as it is told."""

    def __init__(self, answer: Answer) -> None:
        identify_process()
        self._answer = answer
        self._replies: dict[str, Message] = {}

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        identifiers = []
        for message in messages:
            client = unpack_request(message.content).client
            own = Message(pack_update(honest(client), 1), reply_to=message)
            self._replies[str(client)] = self._answer(message) if client == 1 else own
            identifiers.append(str(client))
        return identifiers

    def pull_messages(self, identifiers: Iterable[str]) -> list[Message]:
        return [self._replies.pop(identifier) for identifier in identifiers]


def round_with(answer: Answer) -> RoundOutcome:
    clients = Clients(HostileGrid(answer), [100, 101, 102])  # type: ignore[arg-type]
    return run_round(clients, PLAN, 1, SHARED, {})


def gone(message: Message) -> Message:
    return failure_reply(ClientFailure(1, 1, "training", "gone"), message)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_reply_leaves_the_round_as_if_that_client_had_not_been_there(kind: str) -> None:
    without, found = round_with(gone), round_with(HOSTILE[kind])
    assert sha256_of(found.shared) == sha256_of(without.shared)
    assert (found.losses, found.examples, found.bytes_up, found.drift) == (
        without.losses, without.examples, without.bytes_up, without.drift,
    )  # fmt: skip
    (failure,) = found.failures
    assert (failure.client, failure.stage) == (1, "reply")
    assert found.standing.strikes == {1: 1}


def test_an_honest_reply_is_not_refused() -> None:
    found = round_with(replying())
    assert found.failures == ()
    assert found.examples == 30


def test_a_reply_that_flower_cannot_unpack_is_that_clients_failure_and_nobody_elses() -> None:
    class Broken(HostileGrid):
        def pull_messages(self, identifiers: Iterable[str]) -> list[Message]:
            if list(identifiers) == ["1"]:
                raise ValueError("not an object of Flower's")
            return super().pull_messages(identifiers)

    outcome = run_round(Clients(Broken(gone), [100, 101, 102]), PLAN, 1, SHARED, {})  # type: ignore[arg-type]
    assert sha256_of(outcome.shared) == sha256_of(round_with(gone).shared)
    assert "cannot be read: not an object of Flower's" in outcome.failures[0].error


def test_a_zero_update_counts_as_any_other() -> None:
    outcome = round_with(with_arrays(w=SHARED["w"]))
    np.testing.assert_allclose(outcome.shared["w"], (0.1 + 0.0 + 0.3) / 3, rtol=1e-6)


def test_a_reply_that_comes_twice_counts_once() -> None:
    class Twice(HostileGrid):
        def pull_messages(self, identifiers: Iterable[str]) -> list[Message]:
            return [reply for reply in super().pull_messages(identifiers) for _ in range(2)]

    outcome = run_round(Clients(Twice(replying()), [100, 101, 102]), PLAN, 1, SHARED, {})  # type: ignore[arg-type]
    assert sha256_of(outcome.shared) == sha256_of(round_with(replying()).shared)
    assert outcome.examples == 30
