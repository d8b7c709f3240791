"""What the server does with clients' proxies: whose rows go where, and how they are spread out."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fedmetric.arrays import Arrays
from fedmetric.errors import ProtocolError
from fedmetric.federation.base import LocalRound, RuleContext, Update
from fedmetric.federation.fedaws import FedAwS, spread_loss
from fedmetric.federation.fedgc import FedGC, cross_softmax
from fedmetric.federation.proxies import ProxyRule
from fedmetric.federation.shared_proxies import SharedProxies, class_token
from fedmetric.layout import Layout
from fedmetric.training.site import Site
from oracles.geometry import circle, cloud
from tiny import tiny

CONTEXT = RuleContext(Layout({"w": "backbone"}, frozenset({"w"})), num_clients=3)
SHARED: Arrays = {"w": np.zeros(1, np.float32)}


def rows(*degrees: float) -> np.ndarray:
    return circle(*degrees).numpy().astype(np.float32)[:, None, :]


def update(client: int, found: np.ndarray, images: int = 1, **extra: np.ndarray) -> Update:
    return Update(client, {"w": np.full(1, client, np.float32)}, images, {"proxies": found, **extra})


def named(client: int, found: np.ndarray, *names: str) -> Update:
    return update(client, found, classes=np.array([class_token(name) for name in names], np.int64))


def angles(found: np.ndarray) -> list[float]:
    flat = found.reshape(-1, found.shape[-1])
    return [round(math.degrees(math.atan2(y, x)) % 360, 3) for x, y in flat.tolist()]


def test_a_client_gets_its_own_rows_back_and_nobody_elses() -> None:
    rule = ProxyRule(CONTEXT)
    state, found = rule.aggregate({}, SHARED, [update(0, rows(10, 20), 1), update(2, rows(30), 3)])
    assert angles(rule.broadcast_to(state, 0)["proxies"]) == [10, 20]
    assert angles(rule.broadcast_to(state, 2)["proxies"]) == [30]
    assert rule.broadcast_to(state, 1) == {}
    assert rule.broadcast(state) == {}
    assert found["w"].tolist() == [1.5]


def test_rows_of_clients_that_a_round_leaves_out_stay() -> None:
    rule = ProxyRule(CONTEXT)
    state, _ = rule.aggregate({}, SHARED, [update(0, rows(10)), update(1, rows(30))])
    before = {name: array.copy() for name, array in state.items()}
    later, _ = rule.aggregate(state, SHARED, [update(1, rows(50))])
    assert angles(rule.broadcast_to(later, 0)["proxies"]) == [10]
    assert angles(rule.broadcast_to(later, 1)["proxies"]) == [50]
    assert all(np.array_equal(state[name], array) for name, array in before.items())


def test_a_client_takes_over_the_rows_it_is_sent_and_sends_what_it_has() -> None:
    placed: list[torch.Tensor] = []
    objective = SimpleNamespace(place=placed.append, rows=lambda: torch.from_numpy(rows(70)))
    network: Any = SimpleNamespace(objective=objective)
    rule = ProxyRule(CONTEXT)
    rule.start(LocalRound(network, {}))
    assert placed == []
    rule.start(LocalRound(network, {}, {"proxies": rows(40)}))
    assert angles(placed[0].numpy()) == [40]
    assert angles(rule.send({}, SHARED, LocalRound(network, {}))[1]["proxies"]) == [70]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({}, r"the proxies must be \(K, M, D\) float32 under 'proxies', not \{\}"),
        ({"proxies": np.zeros((2, 3), np.float32)}, r"must be \(K, M, D\) float32"),
        ({"proxies": np.ones((2, 1, 3))}, "not .*float64"),
        ({"proxies": np.ones((2, 1, 3), np.float32), "more": np.ones(1)}, "'more'"),
        ({"proxies": np.zeros((2, 1, 3), np.float32)}, "rows without a direction, all zero"),
        ({"proxies": np.ones((0, 1, 3), np.float32)}, "rows without a direction"),
    ],
)
def test_other_uploads_are_refused(extra: Arrays, message: str) -> None:
    ProxyRule(CONTEXT).check_extra({"proxies": np.ones((2, 1, 3), np.float32)}, SHARED)
    with pytest.raises(ProtocolError, match=message):
        ProxyRule(CONTEXT).check_extra(extra, SHARED)


def test_rows_of_other_sizes_than_those_of_the_clients_before_are_refused() -> None:
    total = ProxyRule(CONTEXT).begin(SHARED, {})
    ProxyRule(CONTEXT).fold(total, update(0, rows(10)))
    with pytest.raises(ProtocolError, match=r"rows of \(1, 3\), other clients' of \(1, 2\)"):
        ProxyRule(CONTEXT).fold(total, update(1, np.ones((1, 1, 3), np.float32)))


def test_the_log_has_mean_and_largest_cosine_between_classes() -> None:
    """Classes at 0 (two centres, 0 and 90 degrees) and at 60: cosines 1/2 and cos 30."""
    rule = ProxyRule(CONTEXT)
    two = np.concatenate([rows(0), rows(90)], axis=1)
    state, _ = rule.aggregate({}, SHARED, [update(0, two), update(1, np.concatenate([rows(60), rows(60)], axis=1))])
    figures = rule.figures(state)
    assert figures["proxy_cosine_mean"] == pytest.approx((0.5 + math.cos(math.radians(30))) / 2, abs=1e-6)
    assert figures["proxy_cosine_max"] == pytest.approx(math.cos(math.radians(30)), abs=1e-6)
    assert rule.figures({}) == {}
    assert rule.figures({"proxies/0": rows(5)}) == {}


def spread_by_loops(points: np.ndarray, classes: list[int], margin: float, neighbours: int) -> float:
    total = 0.0
    for i, point in enumerate(points):
        others = [math.dist(point, other) for j, other in enumerate(points) if classes[j] != classes[i]]
        total += sum(max(0.0, margin - distance) ** 2 for distance in sorted(others)[:neighbours])
    return total


@pytest.mark.parametrize("neighbours", [1, 3, 10])
@pytest.mark.parametrize("classes", [[0, 1, 2, 3, 4], [0, 0, 1, 1, 2]])
def test_the_spread_is_the_sum_over_nearest_rows_of_other_classes(classes: list[int], neighbours: int) -> None:
    points = torch.nn.functional.normalize(cloud(5, 3, 1), dim=1)
    expected = spread_by_loops(points.double().numpy(), classes, 1.3, neighbours)
    assert spread_loss(points, torch.tensor(classes), 1.3, neighbours).item() == pytest.approx(expected, rel=1e-5)


def test_spreading_parts_rows_that_lie_close_and_leaves_rows_that_lie_far() -> None:
    rule = FedAwS(CONTEXT, margin=1.0, steps=50)
    state, _ = rule.aggregate({}, SHARED, [update(0, rows(10)), update(1, rows(14)), update(2, rows(190))])
    near = np.concatenate([state["proxies/0"], state["proxies/1"]])
    assert math.dist(*near[:, 0].tolist()) == pytest.approx(1, abs=0.01)
    assert angles(state["proxies/2"]) == [190]


def test_no_step_and_a_margin_of_nothing_change_no_row() -> None:
    given = [update(0, rows(10)), update(1, rows(14))]
    plain = ProxyRule(CONTEXT).aggregate({}, SHARED, given)[0]
    still = FedAwS(CONTEXT, steps=0).aggregate({}, SHARED, given)[0]
    assert all(np.array_equal(plain[name], still[name]) for name in plain)
    assert angles(FedAwS(CONTEXT, margin=1e-6).aggregate({}, SHARED, given)[0]["proxies/1"]) == [14]
    unmoved = FedGC(CONTEXT, steps=0).aggregate({}, SHARED, given)[0]
    assert all(np.array_equal(plain[name], unmoved[name]) for name in plain)


def test_equal_rows_stay_finite() -> None:
    state, _ = FedAwS(CONTEXT).aggregate({}, SHARED, [update(0, rows(10)), update(1, rows(10))])
    assert all(np.isfinite(array).all() for array in state.values())


def test_the_centres_of_one_class_do_not_push_one_another() -> None:
    two = np.concatenate([rows(10), rows(12)], axis=1)
    state, _ = FedAwS(CONTEXT).aggregate({}, SHARED, [update(0, two)])
    assert angles(state["proxies/0"]) == [10, 12]


def test_the_softmax_has_the_rows_of_other_clients_as_negatives_and_its_own_as_fixed_positive() -> None:
    points, owners, scale = torch.nn.functional.normalize(cloud(4, 3, 2), dim=1), [0, 0, 1, 2], 4.0
    expected = 0.0
    for i in range(4):
        own = math.exp(scale * float(points[i] @ points[i]))
        others = [math.exp(scale * float(points[i] @ points[j])) for j in range(4) if owners[j] != owners[i]]
        expected -= math.log(own / (own + sum(others)))
    assert cross_softmax(points, torch.tensor(owners), scale).item() == pytest.approx(expected, rel=1e-5)


def test_the_softmax_parts_the_rows_of_different_clients() -> None:
    state, _ = FedGC(CONTEXT, steps=20).aggregate({}, SHARED, [update(0, rows(10)), update(1, rows(40))])
    assert float(state["proxies/0"][0, 0] @ state["proxies/1"][0, 0]) < 0.8  # a cosine of 0.87 before


def test_rows_of_a_class_are_averaged_over_its_owners_whatever_place_they_have() -> None:
    """Class b is client 0's second and client 1's first: (0, 1) and (1, 0) give (1/2, 1/2)."""
    rule = SharedProxies(CONTEXT)
    state, _ = rule.aggregate({}, SHARED, [named(0, rows(180, 90), "a", "b"), named(1, rows(0, 270), "b", "c")])
    first, second = rule.broadcast_to(state, 0)["proxies"], rule.broadcast_to(state, 1)["proxies"]
    assert np.allclose(first, [[[-1, 0]], [[0.5, 0.5]]], atol=1e-6)
    assert np.allclose(second, [[[0.5, 0.5]], [[0, -1]]], atol=1e-6)


def test_an_owner_that_a_round_leaves_out_gets_what_the_others_made_of_its_class() -> None:
    rule = SharedProxies(CONTEXT)
    state, _ = rule.aggregate({}, SHARED, [named(0, rows(180, 90), "a", "b"), named(1, rows(90), "b")])
    state, _ = rule.aggregate(state, SHARED, [named(1, rows(45), "b")])
    assert angles(rule.broadcast_to(state, 0)["proxies"]) == [180, 45]


def test_an_owner_that_comes_later_takes_over_what_the_others_have_made_of_its_class() -> None:
    """Two owners of "a" agree on 20 degrees; a third comes with 200, alone and then beside them."""
    rule = SharedProxies(CONTEXT)
    state, _ = rule.aggregate({}, SHARED, [named(0, rows(10, 90), "a", "b"), named(1, rows(30), "a")])
    alone, _ = rule.aggregate(state, SHARED, [named(2, rows(200, 300), "a", "c")])
    assert [angles(rule.broadcast_to(alone, client)["proxies"]) for client in range(3)] == [[20, 90], [20], [20, 300]]
    beside, _ = rule.aggregate(state, SHARED, [named(1, rows(40), "a"), named(2, rows(200), "a")])
    assert angles(rule.broadcast_to(beside, 2)["proxies"]) == [40]
    again, _ = rule.aggregate(alone, SHARED, [named(2, rows(50, 300), "a", "c")])
    assert angles(rule.broadcast_to(again, 0)["proxies"]) == [50, 90]


def test_rows_of_another_shape_than_the_networks_are_refused_whoever_comes_first() -> None:
    rule = ProxyRule(RuleContext(CONTEXT.layout, 3, row=(1, 2)))
    rule.check_extra({"proxies": rows(10)}, SHARED)
    with pytest.raises(ProtocolError, match=r"the proxies have rows of \(1, 3\), the network's are of \(1, 2\)"):
        rule.check_extra({"proxies": np.ones((1, 1, 3), np.float32)}, SHARED)


def test_the_rules_of_a_run_know_the_shape_of_its_rows() -> None:
    several = tiny('objective={name="soft-triple", centres=3}', "federation.rule=fedaws")
    assert Site(several).trainer.rule.context.row == (3, 8)
    assert Site(tiny()).trainer.rule.context.row == ()


def test_what_a_client_uploads_names_its_classes_by_a_hash_only() -> None:
    network: Any = SimpleNamespace(objective=SimpleNamespace(rows=lambda: torch.from_numpy(rows(1, 2))))
    _, extra = SharedProxies(CONTEXT).send({}, SHARED, LocalRound(network, {}, classes=("Greek/alpha", "Greek/beta")))
    assert set(extra) == {"proxies", "classes"}
    assert extra["classes"].dtype == np.int64
    assert extra["classes"].tolist() == [class_token("Greek/alpha"), class_token("Greek/beta")]
    SharedProxies(CONTEXT).check_extra(extra, SHARED)


@pytest.mark.parametrize("classes", [np.array([1, 1]), np.array([1]), np.array([1, 2], np.int32)])
def test_classes_that_do_not_name_the_rows_one_by_one_are_refused(classes: np.ndarray) -> None:
    with pytest.raises(ProtocolError, match="the classes must be 2 different int64"):
        SharedProxies(CONTEXT).check_extra({"proxies": rows(1, 2), "classes": classes}, SHARED)
