"""Krum on points of a line, and against the loop."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.federation.average import WeightedMean
from fedmetric.federation.base import RuleContext, Update
from fedmetric.federation.krum import Krum, krum_order, krum_scores
from fedmetric.federation.robust import squared_distances
from fedmetric.layout import Layout
from oracles import robust as oracle

LAYOUT = Layout(dict.fromkeys(("w", "mean", "var", "n"), "backbone"), frozenset({"w"}), statistics={"mean": "var"})
RNG = np.random.default_rng(5)


def line(*points: float) -> list[Update]:
    """Return clients at these points; statistics and counter tell who is who: the client's number, plus 1."""
    return [
        Update(client, {"w": np.array([float(point)]), **{name: np.array([client + 1.0]) for name in ("mean", "var")},
                        "n": np.array(client + 1)}, 10**client)
        for client, point in enumerate(points)
    ]  # fmt: skip


def run(updates: list[Update], malicious: int, selected: int = 1, pooled: bool = False) -> Arrays:
    context = RuleContext(LAYOUT, len(updates), LAYOUT.statistics if pooled else {})
    rule = Krum(context, malicious=malicious, selected=selected)
    return rule.aggregate({}, {name: array * 0 for name, array in updates[0].arrays.items()}, updates)[1]


def test_the_point_nearest_to_its_nearest_others_is_taken_whole() -> None:
    """Of 0, 1, 3, 7 and 100 with f = 1 the scores are 10, 5, 13, 52 and 18058: client 1, with its statistics."""
    found = run(line(0, 1, 3, 7, 100), 1)
    assert {name: array.tolist() for name, array in found.items()} == {"w": [1], "mean": [2], "var": [2], "n": 2}


def test_several_are_averaged_with_every_client_alike() -> None:
    """The three best are 0, 1 and 3, clients 0 to 2: their mean, the mean of 1, 2 and 3, and the counter 3."""
    found = run(line(0, 1, 3, 7, 100), 1, 3)
    assert found["w"].item() == pytest.approx(4 / 3, rel=1e-15)
    assert (found["mean"].item(), found["n"].item()) == (2, 3)


def test_never_more_are_averaged_than_all_but_the_attackers() -> None:
    assert run(line(0, 1, 3, 7, 100), 1, 50)["w"].item() == (0 + 1 + 3 + 7) / 4


def test_of_equal_scores_the_nearer_to_everybody_is_taken_then_the_lowest_client() -> None:
    """0 and 1, twice each, and an attacker at 9: all four score 0 + 1, and the 1 is nearer to 9."""
    assert run(line(9, 0, 1, 1, 0), 1)["mean"].item() == 1 + 2
    assert run(line(9, 0, 1, 1, 0)[::-1], 1)["mean"].item() == 1 + 2
    assert run(line(4, 2), 0)["w"].item() == 4


@pytest.mark.parametrize("number", [1, 2, 4])
def test_with_nobody_malicious_and_everybody_selected_it_is_the_plain_mean_bit_for_bit(number: int) -> None:
    updates = line(*RNG.normal(size=number))
    total = WeightedMean()
    for update in updates:
        total.fold(update.arrays, 1.0)
    wanted = total.result(updates[0].arrays)
    found = run(updates, 0, 99)
    assert all(found[name].tobytes() == wanted[name].tobytes() for name in wanted)


@pytest.mark.parametrize(("number", "malicious", "selected"), [(5, 1, 1), (9, 3, 1), (9, 2, 4), (12, 0, 1), (3, 0, 2)])
def test_it_is_that_of_the_loop(number: int, malicious: int, selected: int) -> None:
    vectors = RNG.normal(size=(number, 20))
    updates = [Update(client, {"w": vector}, 1) for client, vector in enumerate(vectors)]
    wanted = oracle.krum(vectors.tolist(), malicious, selected)
    np.testing.assert_allclose(run(updates, malicious, selected)["w"], wanted, rtol=1e-12)


def test_statistics_do_not_decide_who_is_near() -> None:
    """The clients' statistics are far apart from one another, in another order than their weights."""
    far = [Update(u.client, {**u.arrays, "mean": np.array([1e9 * (-1) ** u.client])}, 1) for u in line(0, 1, 3, 7, 100)]
    assert run(far, 1)["w"].item() == 1


def test_variances_are_pooled_over_the_selected() -> None:
    """Clients 0 and 1 have means and variances 1 and 2: the mixture has E[v] + Var[m] = 1.5 + 0.25."""
    found = run(line(0, 1, 5, 9, 100), 1, 2, pooled=True)
    assert (found["mean"].item(), found["var"].item()) == (1.5, 1.75)


def test_krum_scores_by_hand() -> None:
    """Points 0, 1, 3, 7 and 100 with f = 1: the two nearest others are 1 and 3 of 0, 0 and 3 of 1, 1 and 0 of 3."""
    updates: list[Arrays] = [{"x": np.array([float(value)])} for value in (0, 1, 3, 7, 100)]
    scores = krum_scores(squared_distances(updates, ["x"]), 1)
    assert scores.tolist() == [1 + 9, 1 + 4, 4 + 9, 16 + 36, 93**2 + 97**2]


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("malicious", [0, 1, 2])
def test_krum_scores_are_those_of_the_loop(number: int, malicious: int) -> None:
    """Also where a round is too small for the paper's formula: one neighbour is left, or none for a single update."""
    vectors = RNG.normal(size=(number, 6))
    scores = krum_scores(squared_distances([{"w": vector} for vector in vectors], ["w"]), malicious)
    wanted = [oracle.krum_score(place, vectors.tolist(), malicious) for place in range(number)]
    np.testing.assert_allclose(scores, wanted, rtol=1e-12)


def test_equal_updates_keep_their_places() -> None:
    vectors = RNG.normal(size=(3, 50))
    updates: list[Arrays] = [{"w": vectors[place]} for place in (0, 1, 0, 2, 0)]
    assert krum_order(squared_distances(updates, ["w"]), 1)[:3] == [0, 2, 4]


@pytest.mark.parametrize("points", [(0, 1, 9), (1, 0, 9), (9, 0, 1), (9, 1, 0)])
def test_of_two_that_have_only_each_other_the_nearer_to_the_rest_is_first(points: tuple[float, ...]) -> None:
    updates: list[Arrays] = [{"w": np.array([float(point)])} for point in points]
    distances = squared_distances(updates, ["w"])
    assert [points[place] for place in krum_order(distances, 0)] == [1, 0, 9]
