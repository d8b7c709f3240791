"""The pure functions behind the robust rules, on values whose result is known and against loops."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.errors import ProtocolError
from fedmetric.federation.robust import (
    check_finite,
    coordinate_wise,
    mean,
    mean_around_median,
    median,
    squared_distances,
    trained,
    trimmed_mean,
)
from fedmetric.layout import Layout

RNG = np.random.default_rng(1)


def columns(*values: float) -> np.ndarray:
    """Return one coordinate of several clients, (N, 1) float64."""
    return np.array(values, np.float64)[:, None]


def test_trained_parameters_come_in_the_networks_order_without_buffers_and_integers() -> None:
    layout = Layout(
        dict.fromkeys(("b", "stat", "a", "codes", "away"), "backbone"), frozenset({"a", "b", "codes", "away"})
    )
    arrays: Arrays = {"a": np.zeros(1), "stat": np.zeros(1), "codes": np.zeros(1, int), "b": np.zeros(1, np.float16)}
    assert trained(layout, arrays) == ["b", "a"]


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_by_client_and_name(wrong: float) -> None:
    arrays: Arrays = {"n": np.array(3), "w": np.array([1.0, wrong, wrong], np.float32)}
    with pytest.raises(ProtocolError, match="client 7 sent w with 2 values that are not finite"):
        check_finite(arrays, 7)


def test_finite_values_and_integers_pass() -> None:
    check_finite({"n": np.array(2**62), "w": np.array([3e38, -0.0], np.float32), "none": np.zeros((0, 2))}, 0)


def test_the_mean_of_one_row_keeps_the_sign_of_zero() -> None:
    for estimate in (mean, median, lambda rows: mean_around_median(rows, 1)):
        assert np.signbit(estimate(np.array([[-0.0]]))).all()


def test_a_trimmed_mean_by_hand() -> None:
    """Of 1, 2, 4, 9, 100, without one at each end: (2 + 4 + 9) / 3 = 5; without two: 4."""
    rows = columns(9, 100, 2, 1, 4)
    assert [trimmed_mean(rows, count).item() for count in (0, 1, 2)] == [23.2, 5.0, 4.0]


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two() -> None:
    assert median(columns(9, 1, 2, 100)).item() == 5.5
    assert median(columns(1, 100)).item() == 50.5


@pytest.mark.parametrize("number", range(1, 9))
def test_medians_are_those_of_numpy(number: int) -> None:
    rows = RNG.normal(size=(number, 3, 5))
    np.testing.assert_allclose(median(rows), np.median(rows, axis=0), rtol=1e-15)


def test_the_mean_around_the_median_by_hand() -> None:
    """The median of 0, 5, 6, 8, 30 is 6; the three closest are 5, 6 and 8, not the 2nd to 4th of 0, 1, 6, 8, 8."""
    assert mean_around_median(columns(30, 5, 0, 8, 6), 3).item() == pytest.approx(19 / 3, rel=1e-15)
    assert mean_around_median(columns(8, 1, 8, 0, 6), 3).item() == pytest.approx(22 / 3, rel=1e-15)
    assert mean_around_median(columns(30, 5, 0, 8, 6), 5).item() == pytest.approx(9.8, rel=1e-15)


@pytest.mark.parametrize("order", [(4, 6, 8), (8, 6, 4), (6, 8, 4)])
def test_of_two_values_equally_far_from_the_median_the_smaller_is_taken(order: tuple[float, ...]) -> None:
    assert mean_around_median(columns(*order), 2).item() == 5


def test_every_tensor_is_estimated_in_float64_and_integers_take_the_largest() -> None:
    """In float32, 2^24 + 1 = 2^24."""
    updates: list[Arrays] = [
        {
            "w": np.array([[value]], np.float32),
            "n": np.array(count),
            "scalar": np.array(value),
            "none": np.zeros((0, 2)),
        }
        for value, count in ((2.0**24, 9), (1.0, 4))
    ]
    found = coordinate_wise(updates, mean)
    assert found["w"].tolist() == [[2**23 + 0.5]]
    assert (found["n"].item(), found["n"].dtype) == (9, updates[0]["n"].dtype)
    assert float(found["scalar"]) == 2**23 + 0.5
    assert found["none"].shape == (0, 2)


def test_distances_by_hand() -> None:
    """(0, 0), (3, 4) and (0, 12) over two tensors: 25, 144 and 9 + 64 = 73; the third tensor is not asked for."""
    points = ((0.0, 0.0, 5.0), (3.0, 4.0, 6.0), (0.0, 12.0, 7.0))
    updates: list[Arrays] = [{"x": np.array([x]), "y": np.array([[y]]), "z": np.array(z)} for x, y, z in points]
    assert squared_distances(updates, ["x", "y"]).tolist() == [[0, 25, 144], [25, 0, 73], [144, 73, 0]]
    assert squared_distances(updates, []).tolist() == [[0] * 3] * 3
    assert squared_distances(updates[:1], ["x"]).tolist() == [[0]]


def test_a_huge_update_does_not_drown_the_distances_of_the_others() -> None:
    """The shortcut |a|^2 + |b|^2 - 2 ab loses 1 beside 1e12 * 1e12."""
    updates: list[Arrays] = [{"x": np.array([1e12 + offset])} for offset in (0.0, 1.0, 3.0)]
    assert squared_distances(updates, ["x"]).tolist() == [[0, 1, 9], [1, 0, 4], [9, 4, 0]]
