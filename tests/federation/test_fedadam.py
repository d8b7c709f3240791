"""FedAdam against a loop over single weights."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.federation.base import RuleContext, Update
from fedmetric.federation.fedadam import FedAdam
from fedmetric.layout import Layout
from oracles.adaptive import adaptive

CONTEXT = RuleContext(Layout({"w": "backbone"}, frozenset({"w"})))
OPTIONS = {"lr": 0.1, "beta1": 0.8, "beta2": 0.95, "tau": 1e-2}


def run(rule: FedAdam, start: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """Let one client move by each row of deltas in turn; return the weights after every round."""
    state: Arrays = {}
    shared, found = {"w": start}, []
    for delta in deltas:
        state, shared = rule.aggregate(state, shared, [Update(0, {"w": shared["w"] + delta}, 1)])
        found.append(shared["w"])
    return np.array(found)


def test_every_weight_follows_the_scalar_algorithm_over_six_rounds() -> None:
    rng = np.random.default_rng(3)
    start, deltas = rng.normal(size=5), rng.normal(size=(6, 5)) * [1e-4, 1e-2, 1, 10, 0]
    found = run(FedAdam(CONTEXT, **OPTIONS), start, deltas)
    for index in range(5):
        wanted = adaptive(start[index], deltas[:, index].tolist(), **OPTIONS, yogi=False)
        np.testing.assert_allclose(found[:, index], wanted, rtol=1e-9)


def test_the_first_round_by_hand() -> None:
    """Delta 3, beta1 0.9, beta2 0.99, tau 1: m = 0.3, v = 0.99 + 0.09 = 1.08, step 2 * 0.3 / (sqrt(1.08) + 1)."""
    rule = FedAdam(CONTEXT, lr=2.0, beta1=0.9, beta2=0.99, tau=1.0)
    found = run(rule, np.zeros(1), np.array([[3.0]]))
    assert found.item() == pytest.approx(0.6 / (1.08**0.5 + 1))


def test_the_second_moment_starts_at_the_square_of_tau() -> None:
    state, _ = FedAdam(CONTEXT, tau=0.5).aggregate({}, {"w": np.zeros(1)}, [Update(0, {"w": np.zeros(1)}, 1)])
    assert state["second.w"].item() == pytest.approx(0.99 * 0.25)


def test_with_a_rate_of_two_tau_no_first_and_a_constant_second_moment_it_is_fedavg() -> None:
    """The second moment stays at tau^2, so that the divisor is 2 tau: the step is the mean change."""
    deltas = np.array([[1e-3, -2e-3], [5e-4, 1e-3]])
    found = run(FedAdam(CONTEXT, lr=2e3, beta1=0.0, beta2=1.0, tau=1e3), np.zeros(2), deltas)
    np.testing.assert_allclose(found, np.cumsum(deltas, axis=0), rtol=1e-9)


def test_no_weight_moves_much_further_than_the_rate_in_a_round() -> None:
    """At a constant change of any size, m -> delta and sqrt(v) -> |delta|: the step tends to lr."""
    found = run(FedAdam(CONTEXT, lr=0.01, tau=1e-6), np.zeros(3), np.tile([0.1, 5.0, -300.0], (2000, 1)))
    np.testing.assert_allclose(found[-1] - found[-2], [0.01, 0.01, -0.01], rtol=1e-3)
