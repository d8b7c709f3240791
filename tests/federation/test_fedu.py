"""FedU's gate in front of the predictor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.federation.base import LocalRound, RuleContext
from fedmetric.federation.fedu import FedU
from fedmetric.layout import Layout

LAYOUT = Layout(
    {"one": "backbone", "two": "backbone", "proj": "projector", "pred": "predictor", "slow": "target"},
    frozenset({"one", "two", "proj", "pred"}),
    convolutions=("one", "two"),
)
NETWORK: Any = None
START: Arrays = {"one": np.zeros(2), "two": np.zeros(1), "proj": np.zeros(1), "pred": np.zeros(1)}
OWN: Arrays = {"one": np.array([3.0, 4.0]), "two": np.ones(1), "proj": np.full(1, 5.0), "pred": np.full(1, 7.0)}
THEIRS: Arrays = {name: array + 100 for name, array in START.items()}


def second_round(threshold: float) -> Arrays:
    """Return what a client starts its second round from: in the first its convolutions moved by 5 and 1, mean 3."""
    rule, memory = FedU(RuleContext(LAYOUT), threshold=threshold), {}
    assert rule.receive(START, {}, memory) is START
    sent = rule.send(START, OWN, LocalRound(NETWORK, memory))
    assert sent == (OWN, {})
    return rule.receive(THEIRS, {}, memory)


@pytest.mark.parametrize(("threshold", "predictor"), [(0.0, 7.0), (2.9, 7.0), (3.0, 7.0), (3.1, 100.0), (1e9, 100.0)])
def test_the_predictor_is_taken_only_below_the_threshold(threshold: float, predictor: float) -> None:
    found = second_round(threshold)
    assert found["pred"].item() == predictor
    assert all(found[name] is THEIRS[name] for name in ("one", "two", "proj"))


def test_the_gate_opens_again_when_the_client_drifts_less() -> None:
    """The second round moves nothing: the drift is that of the last round, 0."""
    rule, memory = FedU(RuleContext(LAYOUT), threshold=0.4), {}
    rule.send(START, OWN, LocalRound(NETWORK, memory))
    assert rule.receive(THEIRS, {}, memory)["pred"].item() == 7
    rule.send(OWN, OWN, LocalRound(NETWORK, memory))
    assert rule.receive(THEIRS, {}, memory)["pred"].item() == 100


def test_the_drift_is_measured_from_where_training_started_and_on_convolutions_alone() -> None:
    rule, memory = FedU(RuleContext(LAYOUT)), {}
    rule.send(OWN, {**OWN, "proj": np.full(1, 1e6), "pred": np.full(1, 1e6)}, LocalRound(NETWORK, memory))
    assert memory["drift"].item() == 0
    assert set(memory) == {"drift", "predictor.pred"}


def test_neither_the_servers_weights_nor_the_memory_change_when_the_gate_is_closed() -> None:
    rule, memory = FedU(RuleContext(LAYOUT), threshold=0.0), {}
    rule.send(START, OWN, LocalRound(NETWORK, memory))
    rule.receive(THEIRS, {}, memory)
    assert THEIRS["pred"].item() == 100
    assert memory["predictor.pred"].item() == 7
