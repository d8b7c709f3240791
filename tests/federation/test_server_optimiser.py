"""What FedAvgM, FedAdam and FedYogi have in common: only trained parameters move by the optimiser."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.federation.base import RuleContext, State, Update
from fedmetric.federation.fedadam import FedAdam
from fedmetric.federation.fedavgm import FedAvgM
from fedmetric.federation.fedyogi import FedYogi
from fedmetric.federation.server_optimiser import ServerOptimiser, moment, named
from fedmetric.layout import Layout

GROUPS = dict.fromkeys(("w", "mean", "var", "batches"), "backbone")
LAYOUT = Layout(GROUPS, frozenset({"w"}), statistics={"mean": "var"})
SHARED: Arrays = {
    "w": np.array([1.0, 2.0], np.float32), "mean": np.zeros(2, np.float32), "var": np.ones(2, np.float32),
    "batches": np.array(3, np.int64),
}  # fmt: skip


class Tripled(ServerOptimiser):
    """Goes three times as far as the clients."""

    def step(self, state: State, delta: Arrays) -> tuple[State, Arrays]:
        seen = {name: value.copy() for name, value in delta.items()}
        return named("seen", seen), {name: 3 * value for name, value in delta.items()}


def updates(layout: Layout = LAYOUT) -> list[Update]:
    """Two clients of 1 and 3 images, at w = (2, 2) and (4, 2), with running means 1 and 5 and 7 and 9 batches."""
    rows = [(1, [2, 2], 1, 7), (3, [4, 2], 5, 9)]
    return [
        Update(
            k,
            {
                "w": np.array(w, np.float32), "mean": np.full(2, mean, np.float32),
                "var": np.full(2, 2, np.float32), "batches": np.array(count, np.int64),
            },
            images,
        )
        for k, (images, w, mean, count) in enumerate(rows)
    ]  # fmt: skip


def test_parameters_move_by_the_step_from_where_they_were() -> None:
    """The mean is ((2 + 3 * 4) / 4, 2) = (3.5, 2), delta (2.5, 0): three times that from (1, 2) is (8.5, 2)."""
    state, found = Tripled(RuleContext(LAYOUT)).aggregate({}, SHARED, updates())
    assert found["w"].tolist() == [8.5, 2.0]
    assert {name: value.tolist() for name, value in state.items()} == {"seen.w": [2.5, 0.0]}
    assert state["seen.w"].dtype == np.float64


@pytest.mark.parametrize("kind", [Tripled, FedAvgM, FedAdam, FedYogi])
def test_buffers_take_the_plain_mean_and_counters_the_largest(kind: type[ServerOptimiser]) -> None:
    """Running means (1 + 3 * 5) / 4 = 4 and variances 2, whatever the optimiser; nine batches."""
    state, found = kind(RuleContext(LAYOUT)).aggregate({}, SHARED, updates())
    assert found["mean"].tolist() == [4.0, 4.0]
    assert found["var"].tolist() == [2.0, 2.0]
    assert found["batches"].tolist() == 9
    assert found["batches"].dtype == np.int64
    assert {name.partition(".")[2] for name in state} == {"w"}


def test_buffers_are_pooled_where_the_policy_says_so() -> None:
    """E[2 + m^2] - 4^2 = 2 + (1 + 3 * 25) / 4 - 16 = 5."""
    found = FedAvgM(RuleContext(LAYOUT, pooled=LAYOUT.statistics)).aggregate({}, SHARED, updates())[1]
    assert found["var"].tolist() == [5.0, 5.0]


@pytest.mark.parametrize("kind", [FedAvgM, FedAdam, FedYogi])
def test_a_round_without_replies_neither_moves_weights_nor_moments(kind: type[ServerOptimiser]) -> None:
    rule = kind(RuleContext(LAYOUT))
    state, shared = rule.aggregate({}, SHARED, updates())
    again, found = rule.aggregate(state, shared, [])
    assert again is state
    assert all(np.array_equal(found[name], shared[name]) for name in shared)


def test_a_moment_that_is_not_there_yet_is_filled_in() -> None:
    delta = {"w": np.array([1.0, 2.0])}
    assert moment({}, "second", delta, 0.25)["w"].tolist() == [0.25, 0.25]
    assert moment({"second.w": np.array([7.0, 8.0])}, "second", delta, 0.25)["w"].tolist() == [7.0, 8.0]
