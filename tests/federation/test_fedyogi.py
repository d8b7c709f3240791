"""FedYogi against a loop over single weights."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.federation.base import RuleContext, Update
from fedmetric.federation.fedadam import FedAdam
from fedmetric.federation.fedyogi import FedYogi
from fedmetric.layout import Layout
from oracles.adaptive import adaptive

CONTEXT = RuleContext(Layout({"w": "backbone"}, frozenset({"w"})))
OPTIONS = {"lr": 0.1, "beta1": 0.8, "beta2": 0.95, "tau": 1e-2}


def test_every_weight_follows_the_scalar_algorithm_over_six_rounds() -> None:
    rng = np.random.default_rng(4)
    start, deltas = rng.normal(size=5), rng.normal(size=(6, 5)) * [1e-4, 1e-2, 1, 10, 0]
    state: Arrays = {}
    shared, found = {"w": start}, []
    for delta in deltas:
        state, shared = FedYogi(CONTEXT, **OPTIONS).aggregate(state, shared, [Update(0, {"w": shared["w"] + delta}, 1)])
        found.append(shared["w"])
    for index in range(5):
        wanted = adaptive(start[index], deltas[:, index].tolist(), **OPTIONS, yogi=True)
        np.testing.assert_allclose(np.array(found)[:, index], wanted, rtol=1e-9)


@pytest.mark.parametrize(
    ("before", "change", "wanted"),
    [(4.0, 1.0, 3.9), (1.0, 2.0, 1.4), (4.0, 2.0, 4.0), (4.0, 0.0, 4.0)],
)
def test_the_second_moment_moves_by_a_tenth_of_the_square_towards_it(
    before: float, change: float, wanted: float
) -> None:
    """Beta2 0.9: from 4 down by 0.1 * 1, from 1 up by 0.1 * 4; it stays where it equals the square, or at no change."""
    rule = FedYogi(CONTEXT, beta2=0.9)
    assert rule.second(np.array([before]), np.array([change])).item() == pytest.approx(wanted)


def test_after_a_large_change_the_second_moment_falls_more_slowly_than_that_of_adam() -> None:
    """From 100 at changes of 1: Adam to 0.9 * 100 + 0.1 = 90.1, Yogi to 100 - 0.1 = 99.9."""
    hundred, one = np.array([100.0]), np.array([1.0])
    assert FedAdam(CONTEXT, beta2=0.9).second(hundred, one).item() == pytest.approx(90.1)
    assert FedYogi(CONTEXT, beta2=0.9).second(hundred, one).item() == pytest.approx(99.9)
