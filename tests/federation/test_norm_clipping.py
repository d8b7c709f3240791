"""Norm clipping on moves whose length is known."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.errors import ProtocolError
from fedmetric.federation.base import RuleContext, Update
from fedmetric.federation.fedavg import FedAvg
from fedmetric.federation.norm_clipping import NormClipping, clipped
from fedmetric.layout import Layout
from oracles import robust as oracle

LAYOUT = Layout(
    dict.fromkeys(("w", "b", "mean", "var", "n"), "backbone"), frozenset({"w", "b"}), statistics={"mean": "var"}
)
CONTEXT = RuleContext(LAYOUT, num_clients=3)
RNG = np.random.default_rng(2)


def random_weights() -> Arrays:
    return {
        "w": RNG.normal(size=(4, 3)).astype(np.float32), "b": RNG.normal(size=5).astype(np.float32),
        "mean": RNG.normal(size=5).astype(np.float32), "var": RNG.uniform(1, 2, 5).astype(np.float32),
        "n": np.array(RNG.integers(1, 9)),
    }  # fmt: skip


SHARED = random_weights()
UPDATES = [Update(client, random_weights(), 10 + 3 * client) for client in range(3)]


def test_a_move_is_scaled_down_to_the_bound_over_all_tensors_together() -> None:
    """From (1, 1) by (3, 4), length 5: with a bound of 2.5 it is halved, to (2.5, 3)."""
    start: Arrays = {"w": np.array([1.0]), "b": np.array([1.0])}
    found = clipped({"w": np.array([4.0]), "b": np.array([5.0])}, start, ["w", "b"], 2.5)
    assert (found["w"].tolist(), found["b"].tolist()) == ([2.5], [3.0])


def test_the_mean_is_weighed_by_images_after_the_clipping() -> None:
    """Moves of 1 and 30 with 10 and 30 images and a bound of 4: (10 * 1 + 30 * 4) / 40 = 3.25."""
    rule = NormClipping(RuleContext(Layout({"w": "backbone"}, frozenset({"w"}))), max_norm=4.0)
    updates = [Update(0, {"w": np.array([1.0])}, 10), Update(1, {"w": np.array([30.0])}, 30)]
    assert rule.aggregate({}, {"w": np.zeros(1)}, updates)[1]["w"].tolist() == [3.25]


@pytest.mark.parametrize("bound", [0.1, 1.0, 5.0, 100.0])
def test_a_clipped_update_is_that_of_the_loop(bound: float) -> None:
    for update in UPDATES:
        found = clipped(update.arrays, SHARED, ["w", "b"], bound)
        vectors = (np.concatenate([arrays[name].ravel() for name in ("w", "b")]) for arrays in (update.arrays, SHARED))
        wanted = oracle.clipped(*(vector.astype(np.float64).tolist() for vector in vectors), bound)
        np.testing.assert_allclose(np.concatenate([found[name].ravel() for name in ("w", "b")]), wanted, rtol=1e-12)


@pytest.mark.parametrize("pooled", [{}, LAYOUT.statistics])
def test_a_bound_above_every_norm_is_fedavg_bit_for_bit(pooled: dict[str, str]) -> None:
    context = RuleContext(LAYOUT, num_clients=3, pooled=pooled)
    found = NormClipping(context, max_norm=1e6).aggregate({}, SHARED, UPDATES)[1]
    wanted = FedAvg(context).aggregate({}, SHARED, UPDATES)[1]
    assert found.keys() == wanted.keys()
    assert all(found[name].tobytes() == wanted[name].tobytes() for name in wanted)


def test_statistics_and_counters_are_those_of_fedavg_whatever_the_bound() -> None:
    found = NormClipping(CONTEXT, max_norm=1e-3).aggregate({}, SHARED, UPDATES)[1]
    wanted = FedAvg(CONTEXT).aggregate({}, SHARED, UPDATES)[1]
    assert all(found[name].tobytes() == wanted[name].tobytes() for name in ("mean", "var", "n"))
    assert not np.array_equal(found["w"], wanted["w"])


def test_no_round_moves_the_parameters_further_than_the_bound() -> None:
    """An attacker's move is 1e6 times as long and it claims nearly all images."""
    attack = Update(3, {**SHARED, "w": SHARED["w"] + np.float32(1e6)}, 10**6)
    found = NormClipping(CONTEXT, max_norm=0.5).aggregate({}, SHARED, [*UPDATES, attack])[1]
    moved = [(found[name].astype(np.float64) - SHARED[name]).ravel() for name in ("w", "b")]
    assert float(np.linalg.norm(np.concatenate(moved))) <= 0.5 * (1 + 1e-6)
    assert all(found[name].dtype == SHARED[name].dtype for name in SHARED)


def test_an_update_within_the_bound_is_returned_untouched_also_at_exactly_the_bound() -> None:
    arrays: Arrays = {"w": np.array([3.0, 4.0])}
    start: Arrays = {"w": np.zeros(2)}
    assert clipped(arrays, start, ["w"], 5.0) is arrays
    assert clipped(start, start, ["w"], 1e-30) is start
    assert clipped(arrays, start, [], 1e-30) is arrays


def test_an_update_with_nan_is_refused_and_leaves_no_trace() -> None:
    rule = NormClipping(CONTEXT, max_norm=1.0)
    total = rule.begin(SHARED, {})
    rule.fold(total, UPDATES[0])
    with pytest.raises(ProtocolError, match="client 1 sent mean with 5 values"):
        rule.fold(total, Update(1, {**UPDATES[1].arrays, "mean": np.full(5, np.nan, np.float32)}, 10**6))
    found, wanted = rule.finish({}, SHARED, total)[1], rule.aggregate({}, SHARED, UPDATES[:1])[1]
    assert all(found[name].tobytes() == wanted[name].tobytes() for name in wanted)
