"""Bulyan on points of a line, and against the loop."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.errors import ConfigError
from fedmetric.federation.base import RuleContext, Update
from fedmetric.federation.bulyan import Bulyan, selection
from fedmetric.federation.krum import Krum
from fedmetric.federation.robust import squared_distances
from fedmetric.layout import Layout
from oracles import robust as oracle

LAYOUT = Layout(dict.fromkeys(("w", "var"), "backbone"), frozenset({"w"}))
RNG = np.random.default_rng(6)


def clients(vectors: np.ndarray) -> list[Update]:
    return [Update(client, {"w": np.array(vector)}, 10**client) for client, vector in enumerate(vectors)]


def run(vectors: np.ndarray, malicious: int) -> np.ndarray:
    rule = Bulyan(RuleContext(LAYOUT, len(vectors)), malicious=malicious)
    return rule.aggregate({}, {"w": np.zeros_like(vectors[0])}, clients(vectors))[1]["w"]


def test_two_are_left_out_and_the_middle_is_averaged() -> None:
    """Points 0, 1, 2, 3, 4, 50, 60 with f = 1. Krum takes the 2 first (1 + 1 + 4 + 4 over four others; 1 and 3 have
    15), then of 0, 1, 3, 4 the 3 (1 + 4 + 9 over three, as 1 has, but nearer to 50 and 60), then the 1 (1 + 9 over two;
    0 has 1 + 16, 4 has 9 + 16), then of 0, 4, 50, 60 the 4 (16 over one, as 0 has), and of 0, 50, 60 the 50, for its
    one neighbour at 10. The median of 1, 2, 3, 4, 50 is 3, and the three closest are 2, 3 and 4."""
    points = np.array([[0.0], [1], [2], [3], [4], [50], [60]])
    distances = squared_distances([{"w": point} for point in points], ["w"])
    assert selection(distances, 1) == [1, 2, 3, 4, 5]
    assert run(points, 1).tolist() == [3]


@pytest.mark.parametrize("number", [1, 2, 3, 6])
def test_with_nobody_malicious_it_is_the_mean_with_every_client_alike(number: int) -> None:
    vectors = RNG.normal(size=(number, 10))
    np.testing.assert_allclose(run(vectors, 0), vectors.mean(axis=0), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("number", "malicious"), [(7, 1), (8, 1), (10, 1), (11, 2), (12, 2)])
def test_it_is_that_of_the_loop(number: int, malicious: int) -> None:
    vectors = RNG.normal(size=(number, 15))
    vectors[:malicious] += 3.0
    np.testing.assert_allclose(run(vectors, malicious), oracle.bulyan(vectors.tolist(), malicious), rtol=1e-12)


def test_a_coordinate_that_krum_lets_through_is_averaged_away() -> None:
    """In 400 dimensions, of which one is wrong by 5 and the rest are the honest mean: nearest to all others by far."""
    honest = RNG.normal(size=(10, 400))
    attack = honest.mean(axis=0)
    attack[0] = 5.0
    vectors = np.stack([attack, *honest])
    krum = Krum(RuleContext(LAYOUT, 11), malicious=2).aggregate({}, {"w": attack}, clients(vectors))[1]["w"]
    assert krum[0] == 5.0
    found = run(vectors, 2)
    assert honest[:, 0].min() <= found[0] <= honest[:, 0].max() < 5.0


def test_statistics_are_averaged_around_their_median_too() -> None:
    """An attacker with ordinary weights and a variance of 1e6 is selected, and its variance is not."""
    updates = [
        Update(k, {"w": np.array([float(k)]), "var": np.array([1e6 if k == 3 else 1.0 + k])}, 1) for k in range(7)
    ]
    found = Bulyan(RuleContext(LAYOUT, 7), malicious=1).aggregate({}, updates[0].arrays, updates)[1]
    assert 1 <= found["var"].item() <= 7


def test_pooled_variances_are_refused() -> None:
    with pytest.raises(ConfigError, match="norm = 'pooled' needs means over clients"):
        Bulyan(RuleContext(LAYOUT, 7, {"w": "var"}), malicious=1)
