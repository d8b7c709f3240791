"""Two rounds of server momentum by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.federation.base import RuleContext, Update
from fedmetric.federation.fedavg import FedAvg
from fedmetric.federation.fedavgm import FedAvgM
from fedmetric.layout import Layout

CONTEXT = RuleContext(Layout({"w": "backbone"}, frozenset({"w"})))


def at(*values: float) -> list[Update]:
    """Return one client of one image for each value of w."""
    return [Update(k, {"w": np.array([value])}, 1) for k, value in enumerate(values)]


def test_two_rounds_by_hand() -> None:
    """Momentum 0.5, lr 2, from 1. Clients at 1.5 and 2.5: delta 1, v = 1, w = 1 + 2 = 3. Clients at 3 and 5: delta 1,
    v = 0.5 + 1 = 1.5, w = 3 + 3 = 6."""
    rule = FedAvgM(CONTEXT, momentum=0.5, lr=2.0)
    state, shared = rule.aggregate({}, {"w": np.array([1.0])}, at(1.5, 2.5))
    assert shared["w"].item() == pytest.approx(3.0)
    assert state["velocity.w"].item() == pytest.approx(1.0)
    state, shared = rule.aggregate(state, shared, at(3.0, 5.0))
    assert shared["w"].item() == pytest.approx(6.0)
    assert state["velocity.w"].item() == pytest.approx(1.5)


def test_a_constant_change_grows_to_lr_over_one_minus_momentum() -> None:
    """1 + 0.9 + 0.81 + ... = 10; after 200 rounds within 1e-8 of it."""
    rule = FedAvgM(CONTEXT, momentum=0.9)
    state: Arrays = {}
    shared = {"w": np.array([0.0])}
    for _ in range(200):
        before = shared["w"].item()
        state, shared = rule.aggregate(state, shared, at(before + 1.0))
    assert shared["w"].item() - before == pytest.approx(10.0, abs=1e-7)


def test_without_momentum_and_with_rate_one_it_is_fedavg_bit_for_bit() -> None:
    rng = np.random.default_rng(1)
    start = {"w": rng.normal(size=1000).astype(np.float32)}
    rule, plain = FedAvgM(CONTEXT, momentum=0.0, lr=1.0), FedAvg(CONTEXT)
    state, shared = {}, start
    for _ in range(3):
        updates = [Update(k, {"w": rng.normal(size=1000).astype(np.float32)}, 3 + k) for k in range(3)]
        wanted = plain.aggregate({}, shared, updates)[1]
        state, shared = rule.aggregate(state, shared, updates)
        assert shared["w"].tobytes() == wanted["w"].tobytes()


@pytest.mark.parametrize("name", ["w", "frozen"])
def test_a_weight_that_nobody_trains_has_no_velocity(name: str) -> None:
    layout = Layout({"w": "backbone", "frozen": "backbone"}, frozenset({"w"}))
    update = Update(0, {"w": np.ones(1), "frozen": np.ones(1)}, 1)
    state, _ = FedAvgM(RuleContext(layout)).aggregate({}, {"w": np.zeros(1), "frozen": np.zeros(1)}, [update])
    assert (f"velocity.{name}" in state) is (name == "w")
