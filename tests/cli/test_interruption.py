"""Signals end a run where it is, or after its round where the error they raise goes no further."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from fedmetric.cli.interruption import signals_end_the_run
from fedmetric.errors import Interrupted

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


def swallow(number: signal.Signals) -> None:
    """Be what a destructor is: no error leaves it."""
    with suppress(BaseException):
        signal.raise_signal(number)


@BOTH
def test_a_signal_is_raised_where_the_run_is(number: signal.Signals) -> None:
    with pytest.raises(Interrupted, match=f"interrupted by signal {int(number)}") as caught, signals_end_the_run():
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == 128 + number


@BOTH
def test_a_signal_whose_error_was_swallowed_ends_the_run_after_its_round(number: signal.Signals) -> None:
    heard: list[Mapping[str, Any]] = []
    with signals_end_the_run() as asked:
        listen = asked.after_rounds(heard.append)
        swallow(number)
        listen({"event": "evaluation", "round": 1})
        with pytest.raises(Interrupted, match=f"interrupted by signal {int(number)}"):
            listen({"event": "round", "round": 2})
    assert [event["round"] for event in heard] == [1, 2]


def test_without_a_signal_nothing_is_raised() -> None:
    with signals_end_the_run() as asked:
        asked.after_rounds(lambda event: None)({"event": "round", "round": 1})
        asked.check()


def test_later_signals_are_ignored_and_after_the_block_they_mean_what_they_meant() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with signals_end_the_run():
        swallow(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert {number: signal.getsignal(number) for number in before} == before
