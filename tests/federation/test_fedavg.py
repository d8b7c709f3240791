"""FedAvg by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from fedmetric.federation.base import RuleContext, Update
from fedmetric.federation.fedavg import FedAvg
from fedmetric.layout import Layout

RULE = FedAvg(RuleContext(Layout({"w": "backbone", "n": "backbone"}, frozenset({"w"}))))
SHARED = {"w": np.zeros(3, np.float32), "n": np.array(0)}


def update(client: int, value: float, count: int) -> Update:
    return Update(client, {"w": np.full(3, value, np.float32), "n": np.array(count)}, count)


def test_clients_are_weighed_by_the_images_they_trained_on() -> None:
    """W = (10 * 1 + 30 * 2 + 60 * 5) / 100 = 3.7; the largest counter is 60."""
    state, found = RULE.aggregate({}, SHARED, [update(0, 1, 10), update(1, 2, 30), update(2, 5, 60)])
    assert state == {}
    assert found["w"] == pytest.approx(np.full(3, 3.7))
    assert found["n"].item() == 60


def test_no_replies_keep_the_weights() -> None:
    shared = {"w": np.ones(3, np.float32)}
    assert RULE.aggregate({}, shared, [])[1]["w"].tolist() == [1, 1, 1]


def test_the_order_of_clients_does_not_matter_beyond_rounding() -> None:
    rng = np.random.default_rng(2)
    updates = [Update(c, {"w": rng.normal(size=50)}, int(rng.integers(1, 100))) for c in range(4)]
    shared = {"w": np.zeros(50)}
    means = [RULE.aggregate({}, shared, order)[1]["w"] for order in itertools.permutations(updates)]
    assert max(float(np.abs(mean - means[0]).max()) for mean in means) < 1e-12


def test_a_client_counts_as_its_images_dealt_to_two() -> None:
    """Splitting a client's weight between two equal clients changes nothing: (2 * 4 + 2 * 8) / 4 = 6 either way."""
    whole = RULE.aggregate({}, SHARED, [update(0, 4, 2), update(1, 8, 2)])[1]["w"]
    dealt = RULE.aggregate({}, SHARED, [update(0, 4, 1), update(1, 8, 2), update(2, 4, 1)])[1]["w"]
    assert whole.tolist() == dealt.tolist() == [6, 6, 6]


def test_folding_one_by_one_is_aggregating_at_once() -> None:
    updates = [update(0, 0.1, 7), update(1, 0.2, 5)]
    total = RULE.begin(SHARED, {})
    for one in updates:
        RULE.fold(total, one)
    found, wanted = RULE.finish({}, SHARED, total)[1], RULE.aggregate({}, SHARED, updates)[1]
    assert found["w"].tobytes() == wanted["w"].tobytes()


def test_statistics_are_pooled_only_when_the_federation_says_so() -> None:
    """Two clients of equal weight with means -1 and 1 and variances 2: 2 on average, 2 + 1 for the mixture."""
    layout = Layout({"m": "backbone", "v": "backbone"})
    updates = [Update(k, {"m": np.array([2.0 * k - 1]), "v": np.array([2.0])}, 5) for k in (0, 1)]
    shared = updates[0].arrays
    plain = FedAvg(RuleContext(layout)).aggregate({}, shared, updates)[1]
    pooled = FedAvg(RuleContext(layout, pooled={"m": "v"})).aggregate({}, shared, updates)[1]
    assert (plain["m"].item(), plain["v"].item()) == (0.0, 2.0)
    assert (pooled["m"].item(), pooled["v"].item()) == (0.0, 3.0)
