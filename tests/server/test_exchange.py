"""The exchange on a grid made by hand, which answers as it is told and counts what is under way."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from fedmetric.errors import Interrupted, TooFewClientsError
from fedmetric.federation.base import FederationRule, RuleContext, Update
from fedmetric.layout import Layout, routes
from fedmetric.server.drift import Drift
from fedmetric.server.exchange import Clients, exchange
from fedmetric.server.intake import Intake
from fedmetric.server.rounds import Plan, check_skipped, has_enough, run_round
from fedmetric.server.standing import Standing
from fedmetric.simulations.engines.grid import identify_process
from fedmetric.wire import ClientFailure, Request, failure_reply, pack_update, unpack_request
from tiny import tiny

SHARED = {"w": np.zeros(2, np.float32)}
LAYOUT = Layout({"w": "backbone"}, parameters=frozenset({"w"}))
PLAN = Plan(tiny(), FederationRule(RuleContext(LAYOUT)), LAYOUT, routes(LAYOUT))


class ScriptedGrid:
    """Answers a request of client k with weights k and k + 1 images, or as `answers[k]` says."""

    def __init__(self, answers: dict[int, Any] | None = None) -> None:
        identify_process()
        self.answers = answers or {}
        self.replies: dict[str, Message] = {}
        self.most_under_way = 0
        self.pushed: list[int] = []

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        identifiers = []
        for message in messages:
            request = unpack_request(message.content)
            self.pushed.append(request.client)
            identifier = f"m{len(self.pushed)}"
            self.replies[identifier] = self.answer(request, message)
            self.most_under_way = max(self.most_under_way, len(self.replies))
            identifiers.append(identifier)
        return identifiers

    def answer(self, request: Request, message: Message) -> Message:
        special = self.answers.get(request.client)
        if isinstance(special, ClientFailure):
            return failure_reply(special, message)
        arrays = {"w": np.full(2, request.client, np.float32)} if special is None else special
        update = Update(
            request.client, arrays, request.client + 1, metrics={"loss": float(request.client), "batch_size": 64.0}
        )
        return Message(pack_update(update, request.round), reply_to=message)

    def pull_messages(self, identifiers: Iterable[str]) -> list[Message]:
        return [self.replies.pop(identifier) for identifier in identifiers]


def request_for(client: int) -> Request:
    return Request(tiny(), 1, client, SHARED, {})


def ask(grid: ScriptedGrid, cohort: list[int], window: int | None = None) -> list[Any]:
    clients = Clients(grid, list(range(100, 120)), window)  # type: ignore[arg-type]
    return list(exchange(clients, cohort, request_for, SHARED))


def test_replies_come_in_the_order_of_the_cohort() -> None:
    assert [reply.client for reply in ask(ScriptedGrid(), [1, 4, 7])] == [1, 4, 7]


@pytest.mark.parametrize("window", [1, 2, 5])
def test_no_more_than_the_window_is_under_way(window: int) -> None:
    grid = ScriptedGrid()
    assert len(ask(grid, list(range(12)), window)) == 12
    assert grid.most_under_way == window


def test_without_a_window_everything_is_sent_at_once() -> None:
    grid = ScriptedGrid()
    ask(grid, list(range(12)))
    assert grid.most_under_way == 12


def test_an_exchange_that_is_told_to_stop_ends_as_a_signal_would() -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Interrupted):
        list(exchange(Clients(ScriptedGrid(), [100, 101], stop=stop), [0, 1], request_for, SHARED))  # type: ignore[arg-type]


def test_an_error_reply_becomes_a_failure_with_client_round_and_stage() -> None:
    failure = ClientFailure(2, 1, "training", "ValueError: no luck")
    replies = ask(ScriptedGrid({2: failure}), [1, 2, 3])
    assert replies[1] == failure
    assert str(failure) == "client 2, round 1, training: ValueError: no luck"


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"v": np.zeros(2, np.float32)}, "missing arrays \\['w'\\], unexpected arrays \\['v'\\]"),
        ({"w": np.zeros(3, np.float32)}, "w is float32 \\(3,\\), expected float32 \\(2,\\)"),
        ({"w": np.array([1, np.nan], np.float32)}, "w has 1 values that are not finite"),
        ({"w": np.array([np.inf, np.nan], np.float32)}, "w has 2 values that are not finite"),
        ({"w": np.zeros(2, np.float64)}, "w is float64 \\(2,\\), expected float32 \\(2,\\)"),
    ],
)
def test_a_reply_with_other_arrays_than_asked_for_is_a_failure(arrays: dict[str, Any], words: str) -> None:
    import re

    (reply,) = ask(ScriptedGrid({1: arrays}), [1])
    assert isinstance(reply, ClientFailure)
    assert reply.stage == "reply"
    assert re.search(words, reply.error)


def test_a_round_weighs_clients_by_their_images_and_counts_what_happened() -> None:
    """Weights 0, 1, 2 from 1, 2, 3 images: the mean is (0 + 2 + 6) / 6 = 4/3; 8 bytes each way for each client."""
    outcome = run_round(clients(ScriptedGrid(), 3), PLAN, 1, SHARED, {})
    np.testing.assert_allclose(outcome.shared["w"], [4 / 3, 4 / 3], rtol=1e-6)
    assert outcome.losses == (0.0, 1.0, 2.0)
    assert outcome.examples == 6
    assert (outcome.bytes_down, outcome.bytes_up) == (24, 24)
    assert outcome.failures == ()
    assert outcome.shrunk == 0


def test_a_round_that_loses_a_few_clients_is_the_round_without_them() -> None:
    failure = ClientFailure(1, 1, "training", "gone")
    outcome = run_round(clients(ScriptedGrid({1: failure}), 3), PLAN, 1, SHARED, {})
    np.testing.assert_allclose(outcome.shared["w"], [6 / 4, 6 / 4], rtol=1e-6)
    assert outcome.failures == (failure,)


def test_a_round_that_loses_too_many_shows_the_first_error() -> None:
    failures = {k: ClientFailure(k, 1, "data", f"disk {k} is gone") for k in (0, 2)}
    with pytest.raises(TooFewClientsError, match="lost 2 of 3 clients.*first: client 0, round 1, data: disk 0 is gone"):
        run_round(clients(ScriptedGrid(failures), 3), PLAN, 1, SHARED, {})


GONE = [ClientFailure(k, 1, "data", "gone") for k in range(2)]


@pytest.mark.parametrize(
    ("cohort", "lost", "max_lost", "enough"), [(1, 1, 1.0, False), (4, 2, 0.5, True), (0, 0, 0.5, False)]
)
def test_a_round_counts_with_one_client_and_no_more_lost_than_allowed(
    cohort: int, lost: int, max_lost: float, enough: bool
) -> None:
    assert has_enough(cohort, GONE[:lost], max_lost) is enough


def test_rounds_may_fail_to_count_as_often_in_a_row_as_the_experiment_says() -> None:
    federation = tiny("federation.max_skipped=2").federation
    check_skipped(Standing(skipped=2), 2, GONE, federation, 7)
    with pytest.raises(TooFewClientsError, match="lost 2 of 2 clients, 3 rounds in a row, more.*client 0"):
        check_skipped(Standing(skipped=3), 2, GONE, federation, 7)


def test_a_round_that_does_not_count_leaves_weights_and_state_as_they_were() -> None:
    plan = replace(PLAN, experiment=tiny("federation.max_skipped=1"))
    shared = {"w": np.array([0.25, -3.0], np.float32)}
    failures = {k: ClientFailure(k, 1, "data", "gone") for k in (0, 2)}
    outcome = run_round(clients(ScriptedGrid(failures), 3), plan, 1, shared, {"s": np.ones(1)})
    assert not outcome.counted
    assert outcome.shared["w"].tobytes() == shared["w"].tobytes()
    assert outcome.state["s"].tobytes() == np.ones(1).tobytes()
    assert outcome.standing.skipped == 1


def clients(grid: ScriptedGrid, count: int) -> Clients:
    return Clients(grid, list(range(100, 100 + count)))  # type: ignore[arg-type]


def test_an_upload_beside_the_weights_that_the_rule_did_not_ask_for_is_a_failure() -> None:
    intake = Intake(PLAN.rule, PLAN.experiment, 4, SHARED, {}, Drift(SHARED, ["w"]), Standing())
    intake.take(Update(1, SHARED, 1, {"notes": np.zeros(2)}))
    assert [str(failure) for failure in intake.failures] == [
        "client 1, round 4, reply: what is uploaded beside the weights: missing arrays [], unexpected arrays ['notes']"
    ]


@pytest.mark.parametrize(
    ("bound", "sent", "claims", "reason"),
    [
        ("examples=10", 1.0, 11, "num-examples is 11, at most 10 are accepted (federation.accept.examples)"),
        ("norm=2.0", 3.0, 1, "the update moves by 4.24, at most 2 (federation.accept.norm)"),
        ("norm_ratio=3.0", 3.0, 1, "the update moves by 4.24, at most 3: 3 times the median of the last rounds"),
    ],
)
def test_a_reply_beyond_a_bound_is_refused_and_leaves_no_trace(
    bound: str, sent: float, claims: int, reason: str
) -> None:
    experiment = tiny(f"federation.accept.{bound}")
    intake = Intake(PLAN.rule, experiment, 1, SHARED, {}, Drift(SHARED, ["w"]), Standing(moves=(1.0, 9.0, 1.0)))
    intake.take(Update(0, {"w": np.full(2, sent, np.float32)}, claims))
    assert reason in intake.failures[0].error
    assert (intake.total.weights.weight, intake.examples, intake.losses, intake.drift.moves) == (0.0, 0, [], [])


def test_a_client_is_asked_no_more_after_its_last_strike() -> None:
    plan = replace(PLAN, experiment=tiny("federation.accept.strikes=2"))
    grid = ScriptedGrid({1: {"w": np.full(2, np.nan, np.float32)}})
    standing, asked = Standing(), []
    for round in (1, 2, 3):
        before = len(grid.pushed)
        standing = run_round(clients(grid, 3), plan, round, SHARED, {}, standing).standing
        asked.append(grid.pushed[before:])
    assert asked == [[0, 1, 2], [0, 1, 2], [0, 2]]
    assert standing.strikes == {1: 2}


def test_a_standing_survives_json() -> None:
    standing = Standing((0.1, 1e-30), {3: 2}, 1)
    assert Standing.from_plain(json.loads(json.dumps(standing.to_plain()))) == standing


def test_only_the_last_moves_are_remembered_and_rounds_that_did_not_count_add_none() -> None:
    standing = Standing()
    for move in range(20):
        standing = standing.after([float(move)], [], enough=True)
    assert standing.moves == tuple(float(move) for move in range(11, 20))
    assert standing.after([99.0], [], enough=False).moves == standing.moves


def test_a_reply_that_comes_after_the_deadline_is_never_read() -> None:
    class Late(ScriptedGrid):
        def pull_messages(self, identifiers: Iterable[str]) -> list[Message]:
            return [] if list(identifiers) == ["m2"] else super().pull_messages(identifiers)

    grid = Late()
    way = replace(clients(grid, 3), patience=0.2)
    outcome = run_round(way, PLAN, 1, SHARED, {})
    assert [str(failure) for failure in outcome.failures] == [
        "client 1, round 1, transport: no reply before the deadline of the round"
    ]
    np.testing.assert_allclose(outcome.shared["w"], [6 / 4, 6 / 4], rtol=1e-6)


def test_a_client_that_has_left_is_lost_and_nothing_is_sent() -> None:
    grid = ScriptedGrid()
    way = Clients(grid, [100, None, 102])  # type: ignore[arg-type]
    outcome = run_round(way, PLAN, 1, SHARED, {})
    assert grid.pushed == [0, 2]
    assert "no longer registered" in outcome.failures[0].error
