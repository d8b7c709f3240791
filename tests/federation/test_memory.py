"""A client's state as named arrays, and when it is forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.arrays import Arrays, sha256_of
from fedmetric.errors import ProtocolError
from fedmetric.federation.memory import ClientState


def state() -> ClientState:
    return ClientState(
        4,
        last_round=9,
        own={"objective.queue.bank": np.arange(6, dtype=np.float32).reshape(2, 3), "own": np.array(1, np.int64)},
        rule={"lambda": np.array(0.5), "online.w": np.ones(2, np.float32)},
        optimiser={"exp_avg:backbone.conv.weight": np.zeros((1, 2), np.float32)},
    )


def test_what_was_written_is_read() -> None:
    arrays = state().to_arrays()
    found = ClientState.from_arrays(arrays, 4)
    assert (found.client, found.last_round) == (4, 9)
    assert sha256_of(found.to_arrays()) == sha256_of(arrays)
    assert set(found.own) == {"objective.queue.bank", "own"}
    assert set(found.rule) == {"lambda", "online.w"}
    assert set(found.optimiser) == {"exp_avg:backbone.conv.weight"}


def test_names_say_which_part_an_array_is_of() -> None:
    assert set(state().to_arrays()) == {
        "client", "last-round", "own.objective.queue.bank", "own.own", "rule.lambda", "rule.online.w",
        "optimiser.exp_avg:backbone.conv.weight",
    }  # fmt: skip


def test_no_arrays_are_the_state_before_the_first_participation() -> None:
    assert ClientState.from_arrays({}, 3) == ClientState(3)
    assert ClientState(3).last_round == 0


def test_the_state_of_another_partition_is_refused() -> None:
    with pytest.raises(ProtocolError, match="this state belongs to partition 4, not to 5"):
        ClientState.from_arrays(state().to_arrays(), 5)


@pytest.mark.parametrize("name", ["weights.w", "own.", "own", "lastround"])
def test_a_name_that_no_state_has_is_refused(name: str) -> None:
    arrays: Arrays = {name: np.zeros(1)}
    with pytest.raises(ProtocolError, match=f"the state of client 4 holds '{name}', which no client state has"):
        ClientState.from_arrays(arrays, 4)


@pytest.mark.parametrize(
    ("round", "max_staleness", "kept"),
    [
        (10, 0, True), (999, 0, True), (10, 1, True), (11, 1, False), (12, 3, True), (13, 3, False),
        (9, 0, False), (5, 9, False),
    ],
)  # fmt: skip
def test_a_state_is_forgotten_when_it_is_too_old_or_from_the_future(round: int, max_staleness: int, kept: bool) -> None:
    """Last participation in round 9: in round 12 that is three rounds ago; in round 9 the server went back."""
    found = state().fresh(round, max_staleness)
    assert found.client == 4
    assert (found.last_round == 9) is kept
    assert bool(found.own) is bool(found.rule) is bool(found.optimiser) is kept


def test_a_client_that_never_took_part_is_not_too_old() -> None:
    first = ClientState(2)
    assert first.fresh(50, 1) is first
