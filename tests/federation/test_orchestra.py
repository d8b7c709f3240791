"""Orchestra's server: clusters of clusters on points of the circle."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.federation.base import LocalRound, RuleContext, Update
from fedmetric.federation.orchestra import OrchestraRule
from fedmetric.layout import Layout
from oracles.geometry import circle

PLACE = "objective.centroids.vectors"
LAYOUT = Layout({"w": "backbone", PLACE: "centroids"}, frozenset({"w"}))
SHARED: Arrays = {"w": np.zeros(1, np.float32), PLACE: np.eye(2, dtype=np.float32)}


def angles(points: np.ndarray) -> list[float]:
    return sorted(round(float(angle) % 360, 3) for angle in np.degrees(np.arctan2(points[:, 1], points[:, 0])))


def update(client: int, *degrees: float, images: int = 1) -> Update:
    arrays = {"w": np.full(1, client, np.float32), PLACE: np.eye(2, dtype=np.float32)}
    return Update(client, arrays, images, {"centroids": circle(*degrees).numpy()})


def test_a_client_uploads_clusters_of_its_own_projections_and_its_weights() -> None:
    memory = SimpleNamespace(rows=lambda: circle(0, 10, 90, 100))
    network: Any = SimpleNamespace(objective=SimpleNamespace(memory=memory))
    rule = OrchestraRule(RuleContext(LAYOUT), local_clusters=2)
    arrays, extra = rule.send({}, SHARED, LocalRound(network, {}))
    assert arrays is SHARED
    assert list(extra) == ["centroids"]
    assert extra["centroids"].dtype == np.float32
    assert angles(extra["centroids"]) == pytest.approx([5, 95], abs=1e-3)


def test_no_projection_itself_is_uploaded_where_there_are_more_of_them_than_clusters() -> None:
    points = circle(*range(0, 360, 24))
    network: Any = SimpleNamespace(objective=SimpleNamespace(memory=SimpleNamespace(rows=lambda: points)))
    _, extra = OrchestraRule(RuleContext(LAYOUT), local_clusters=4).send({}, SHARED, LocalRound(network, {}))
    assert extra["centroids"].shape == (4, 2)


def test_the_server_clusters_the_centroids_of_all_clients_and_averages_weights_by_images() -> None:
    """Centroids around 20 and 200 degrees; weights (1 * 0 + 3 * 1) / 4."""
    rule = OrchestraRule(RuleContext(LAYOUT))
    state, found = rule.aggregate({}, SHARED, [update(0, 10, 190, images=1), update(1, 30, 210, images=3)])
    assert angles(found[PLACE]) == pytest.approx([20, 200], abs=1e-3)
    assert found[PLACE].dtype == np.float32
    assert found["w"].tolist() == [0.75]
    assert set(state) == {"0", "1"}


def test_the_centroids_of_a_client_that_a_round_leaves_out_go_on_counting() -> None:
    """In the second round client 0 has moved to 40 and 220; client 1's 30 and 210 still stand: 35 and 215."""
    rule = OrchestraRule(RuleContext(LAYOUT))
    state, _ = rule.aggregate({}, SHARED, [update(0, 10, 190), update(1, 30, 210)])
    state, found = rule.aggregate(state, SHARED, [update(0, 40, 220)])
    assert angles(found[PLACE]) == pytest.approx([35, 215], abs=1e-3)
    assert angles(state["1"]) == pytest.approx([30, 210], abs=1e-3)


def test_clients_in_numeric_order_give_the_same_clusters_whoever_replied_first() -> None:
    updates = [update(k, 7 * k, 100 + 5 * k) for k in (2, 10, 1)]
    rule = OrchestraRule(RuleContext(LAYOUT))
    first, second = (rule.aggregate({}, SHARED, order)[1][PLACE] for order in (updates, updates[::-1]))
    assert np.array_equal(first, second)
