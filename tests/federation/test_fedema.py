"""FedEMA's mix, both divergences by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.federation.base import LocalRound, RuleContext
from fedmetric.federation.fedema import FedEMA
from fedmetric.layout import Layout

LAYOUT = Layout(
    {"conv": "backbone", "mean": "backbone", "count": "backbone", "proj": "projector", "pred": "predictor"},
    frozenset({"conv", "proj", "pred"}),
    convolutions=("conv",),
)
NETWORK: Any = None


def weights(conv: tuple[float, float], other: float = 0.0, count: int = 1) -> Arrays:
    return {
        "conv": np.array(conv, np.float32), "mean": np.full(1, other, np.float32), "count": np.array(count),
        "proj": np.zeros(1, np.float32), "pred": np.full(1, other, np.float32),
    }  # fmt: skip


def after_a_round(rule: FedEMA, own: Arrays, before: Arrays | None = None) -> Arrays:
    """Return the memory of a client that ended its first round with these weights."""
    memory: Arrays = {}
    rule.send(weights((0, 0)) if before is None else before, own, LocalRound(NETWORK, memory))
    return memory


def test_the_first_participation_takes_everything_from_the_server() -> None:
    shared = weights((1, 2), 3)
    assert FedEMA(RuleContext(LAYOUT)).receive(shared, {}, {}) is shared


def test_at_its_first_measurement_a_client_keeps_tau_of_its_own_weights() -> None:
    """Own (3, 4), server (0, 0): D = 5, lambda = 0.7 / 5, mu = 0.7: conv (2.1, 2.8). The running mean and the
    predictor, 10 and 20, are mixed too: 0.7 * 10 + 0.3 * 20 = 13; the counter is the server's."""
    rule = FedEMA(RuleContext(LAYOUT), tau=0.7)
    memory = after_a_round(rule, weights((3, 4), 10, count=5))
    found = rule.receive(weights((0, 0), 20, count=9), {}, memory)
    assert found["conv"] == pytest.approx(np.array([2.1, 2.8]))
    assert found["mean"] == pytest.approx(np.array([13.0]))
    assert found["pred"] == pytest.approx(np.array([13.0]))
    assert found["count"].item() == 9
    assert memory["lambda"].item() == pytest.approx(0.14)
    assert {name: array.dtype for name, array in found.items()} == {
        name: array.dtype for name, array in weights((0, 0)).items()
    }


@pytest.mark.parametrize(("distance", "mu"), [(2.5, 0.35), (5.0, 0.7), (6.0, 0.84), (10.0, 1.0), (50.0, 1.0)])
def test_later_it_keeps_more_the_further_it_is_from_the_server_and_at_most_all(distance: float, mu: float) -> None:
    """Lambda 0.14 of a first measurement at distance 5; own (0, 0), server (distance, 0)."""
    rule = FedEMA(RuleContext(LAYOUT), tau=0.7)
    memory = after_a_round(rule, weights((3, 4)))
    rule.receive(weights((0, 0)), {}, memory)
    rule.send(weights((0, 0)), weights((0, 0)), LocalRound(NETWORK, memory))
    found = rule.receive(weights((distance, 0)), {}, memory)
    assert found["conv"][0] == pytest.approx((1 - mu) * distance, abs=1e-5)
    assert memory["lambda"].item() == pytest.approx(0.14)


def test_the_divergence_leaves_the_predictor_and_running_statistics_out() -> None:
    """Only the encoder is compared: 1,000 between means and predictors counts nothing, 5 between convolutions does."""
    rule = FedEMA(RuleContext(LAYOUT), tau=0.5)
    memory = after_a_round(rule, weights((3, 4), 1000))
    rule.receive(weights((0, 0), 0), {}, memory)
    assert memory["lambda"].item() == pytest.approx(0.1)


def test_the_local_drift_is_how_far_convolutions_moved_in_the_last_round() -> None:
    """From (6, 8) to (6, 0), 8 long, though the server is 1 away: lambda = 0.4 / 8 and mu = 0.4 of the own weights.
    A next round that moves 4 has mu = 0.2."""
    rule = FedEMA(RuleContext(LAYOUT), tau=0.4, divergence="local_drift")
    memory = after_a_round(rule, weights((6, 0)), before=weights((6, 8)))
    found = rule.receive(weights((7, 0)), {}, memory)
    assert found["conv"] == pytest.approx(np.array([0.4 * 6 + 0.6 * 7, 0]))
    rule.send(weights((1, 4)), weights((1, 0)), LocalRound(NETWORK, memory))
    found = rule.receive(weights((7, 0)), {}, memory)
    assert found["conv"] == pytest.approx(np.array([0.2 * 1 + 0.8 * 7, 0]))


@pytest.mark.parametrize("divergence", ["to_global", "local_drift"])
def test_with_tau_zero_the_servers_arrays_are_taken_as_they_are(divergence: str) -> None:
    rule = FedEMA(RuleContext(LAYOUT), tau=0.0, divergence=divergence)  # type: ignore[arg-type]
    shared = weights((1, 2), 3)
    assert rule.receive(shared, {}, after_a_round(rule, weights((3, 4)))) is shared


def test_a_client_at_the_servers_weights_mixes_nothing() -> None:
    rule = FedEMA(RuleContext(LAYOUT))
    shared = weights((3, 4), 1)
    memory = after_a_round(rule, weights((3, 4), 2))
    assert rule.receive(shared, {}, memory) is shared
    assert "lambda" not in memory  # the next measurement sets it


def test_everything_is_uploaded_unchanged() -> None:
    after = weights((1, 2))
    assert FedEMA(RuleContext(LAYOUT)).send(weights((0, 0)), after, LocalRound(NETWORK, {})) == (after, {})
