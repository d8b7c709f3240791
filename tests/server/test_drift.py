"""The clients' moves against a double loop over pairs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.server.drift import Drift
from oracles.retrieval import cosine

START: Arrays = {"a": np.ones((2, 3), np.float32), "b": np.ones(4, np.float32), "mean": np.ones(5, np.float32)}
NAMES = ("a", "b", "elsewhere")


def moved(*vectors: list[float]) -> dict[str, float]:
    """Fold clients that moved a single tensor by these vectors."""
    drift = Drift({"w": np.zeros(len(vectors[0]))}, ["w"])
    for vector in vectors:
        drift.fold(drift.move_of({"w": np.array(vector)}))
    return drift.result()


def test_the_cosine_is_the_mean_over_all_pairs_of_clients() -> None:
    rng = np.random.default_rng(1)
    drift, moves = Drift(START, NAMES), []
    for scale in (0.1, 1.0, 3.0, 10.0):
        after = {
            name: (array + scale * rng.normal(size=array.shape)).astype(np.float32) for name, array in START.items()
        }
        drift.fold(drift.move_of(after))
        moves.append(np.concatenate([(after[name] - START[name]).ravel() for name in ("a", "b")]).tolist())
    pairs = list(itertools.combinations(moves, 2))
    found = drift.result()
    assert found["drift_cosine"] == pytest.approx(sum(cosine(one, two) for one, two in pairs) / len(pairs), abs=1e-6)
    assert found["drift"] == pytest.approx(sum(math.hypot(*move) for move in moves) / len(moves), rel=1e-6)


@pytest.mark.parametrize(
    ("vectors", "wanted"),
    [
        (([1.0, 0.0], [5.0, 0.0]), 1.0),
        (([1.0, 0.0], [-2.0, 0.0]), -1.0),
        (([1.0, 0.0], [0.0, 3.0]), 0.0),
        (([1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]), -1 / 3),
    ],
)
def test_the_cosine_of_directions_by_eye(vectors: tuple[list[float], ...], wanted: float) -> None:
    """Four moves to the four sides: two of the six pairs are opposite, (0 + 0 + 0 + 0 - 1 - 1) / 6."""
    assert moved(*vectors)["drift_cosine"] == pytest.approx(wanted)


def test_the_drift_is_the_mean_distance() -> None:
    """(5 + 13 + 0) / 3 = 6."""
    assert moved([3.0, 4.0], [5.0, 12.0], [0.0, 0.0])["drift"] == pytest.approx(6)


def test_a_client_that_did_not_move_has_no_direction() -> None:
    assert moved([1.0, 0.0], [0.0, 0.0], [1.0, 0.0])["drift_cosine"] == pytest.approx(1)
    assert "drift_cosine" not in moved([1.0, 0.0], [0.0, 0.0])


def test_one_client_has_nobody_to_agree_with() -> None:
    assert moved([3.0, 4.0]) == {"drift": 5.0}


def test_without_clients_or_without_shared_weights_nothing_is_measured() -> None:
    assert Drift(START, NAMES).result() == {}
    alone = Drift({}, NAMES)
    alone.fold(alone.move_of({}))
    assert alone.result() == {}
