"""L-DAWA on vectors whose angles are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.federation.base import RuleContext, Update
from fedmetric.federation.ldawa import LDAWA, cosine
from fedmetric.layout import Layout

CONTEXT = RuleContext(Layout(dict.fromkeys(("w", "bias", "buffer"), "backbone"), frozenset({"w", "bias"})))
START: Arrays = {"w": np.array([[1.0, 0.0]]), "bias": np.array([1.0, 0.0]), "buffer": np.array([[1.0, 0.0]])}


def at(degrees: float, length: float = 1.0) -> Arrays:
    """Return all three tensors at an angle to the server's."""
    vector = length * np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
    return {"w": vector[None], "bias": vector, "buffer": vector[None]}


def run(normalise: str, *clients: Arrays, shared: Arrays = START) -> Arrays:
    updates = [Update(k, arrays, 1 + 99 * k) for k, arrays in enumerate(clients)]
    return LDAWA(CONTEXT, normalise=normalise).aggregate({}, shared, updates)[1]  # type: ignore[arg-type]


def test_a_layer_counts_by_its_cosine_to_the_servers_layer() -> None:
    """Clients at 60 degrees, length 2, cosine 1/2, and at 0 degrees, length 3, cosine 1: the plain mean of (1/2, root
    3 / 2) and (3, 0), whatever images they have."""
    found = run("none", at(60, 2), at(0, 3))
    np.testing.assert_allclose(found["w"], [[1.75, math.sqrt(3) / 4]], rtol=1e-12)


def test_with_sum_the_cosines_add_up_to_one() -> None:
    """The same, divided by the mean cosine 3/4."""
    found = run("sum", at(60, 2), at(0, 3))
    np.testing.assert_allclose(found["w"], [[1.75 / 0.75, math.sqrt(3) / 3]], rtol=1e-12)


@pytest.mark.parametrize("normalise", ["none", "sum"])
def test_biases_and_buffers_are_averaged_plainly(normalise: str) -> None:
    """(1, root 3) and (3, 0) have the mean (2, root 3 / 2)."""
    found = run(normalise, at(60, 2), at(0, 3))
    np.testing.assert_allclose(found["bias"], [2, math.sqrt(3) / 2], rtol=1e-12)
    np.testing.assert_allclose(found["buffer"], [[2, math.sqrt(3) / 2]], rtol=1e-12)


def test_unchanged_clients_give_the_servers_weights() -> None:
    rng = np.random.default_rng(1)
    shared = {"w": rng.normal(size=(30, 40)).astype(np.float32), "bias": rng.normal(size=9).astype(np.float32)}
    found = run("none", shared, shared, shared, shared=shared)
    np.testing.assert_allclose(found["w"], shared["w"], rtol=1e-6)
    assert found["bias"].tobytes() == shared["bias"].tobytes()
    assert found["w"].dtype == np.float32


def test_with_sum_equal_clients_give_their_own_weights() -> None:
    """Without it they shrink by the cosine: at 60 degrees by half."""
    np.testing.assert_allclose(run("sum", at(60, 2), at(60, 2))["w"], at(60, 2)["w"], rtol=1e-12)
    np.testing.assert_allclose(run("none", at(60, 2), at(60, 2))["w"], at(60, 1)["w"], rtol=1e-12)


@pytest.mark.parametrize(("server", "client"), [((0.0, 0.0), (3.0, 4.0)), ((3.0, 4.0), (0.0, 0.0))])
@pytest.mark.parametrize("normalise", ["none", "sum"])
def test_a_layer_of_norm_zero_passes_through(
    server: tuple[float, float], client: tuple[float, float], normalise: str
) -> None:
    found = run(normalise, {"w": np.array([client])}, shared={"w": np.array([server])})
    assert found["w"].tolist() == [list(client)]


@pytest.mark.parametrize(("degrees", "wanted"), [(0, 1), (60, 0.5), (90, 0), (120, -0.5), (180, -1)])
def test_the_cosine_of_an_angle_at_any_length(degrees: float, wanted: float) -> None:
    assert cosine(START["w"], at(degrees, 7)["w"]) == pytest.approx(wanted, abs=1e-12)


def test_cosines_below_zero_leave_the_mean_undivided() -> None:
    """At 180 degrees the scaled layer is turned round, (1, 0); dividing by -1 would turn it back."""
    np.testing.assert_allclose(run("sum", at(180))["w"], [[1, 0]], atol=1e-12)
