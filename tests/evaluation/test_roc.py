from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedmetric.evaluation.roc import Curve, area_under, best_threshold, equal_error_rate, roc, true_accept_rate
from oracles import verification as oracle


def curve_of(genuine: list[float], impostor: list[float]) -> Curve:
    values = np.array([*genuine, *impostor])
    return roc(values, np.arange(len(values)) < len(genuine))


def test_a_small_curve_as_derived_by_hand() -> None:
    """Genuine 0.9, 0.7, 0.3 and impostors 0.8, 0.5, 0.2, 0.1.

    Of 12 couples the genuine pair is nearer in 4 + 3 + 2 = 9: AUC 3/4. From above, (FAR, TAR) is (0, 1/3), (1/4, 1/3),
    (1/4, 2/3), (2/4, 2/3), (2/4, 1): false rejects fall from 2/3 to 1/3 at FAR 1/4 and stay until 2/4, so they meet
    at 1/3. At most one impostor passes at FAR 1/4: TAR 2/3.
    """
    curve = curve_of([0.9, 0.7, 0.3], [0.8, 0.5, 0.2, 0.1])
    assert area_under(curve) == pytest.approx(9 / 12)
    assert equal_error_rate(curve) == pytest.approx(1 / 3)
    assert true_accept_rate(curve, 0.25) == pytest.approx(2 / 3)
    assert true_accept_rate(curve, 0.49) == pytest.approx(2 / 3)
    assert true_accept_rate(curve, 0.5) == 1


def test_a_perfect_encoder_has_area_one_and_no_error() -> None:
    curve = curve_of([0.9, 0.8], [0.7, 0.1])
    assert (area_under(curve), equal_error_rate(curve), true_accept_rate(curve, 0.5)) == (1, 0, 1)


def test_an_encoder_that_is_always_wrong_has_area_zero_and_only_errors() -> None:
    curve = curve_of([0.1, 0.2], [0.7, 0.8])
    assert (area_under(curve), equal_error_rate(curve), true_accept_rate(curve, 0.5)) == (0, 1, 0)


def test_constant_similarities_are_a_coin() -> None:
    """All pairs pass together or not at all, so no threshold has a FAR of 1 % but the one that accepts none."""
    curve = curve_of([0.5] * 3, [0.5] * 200)
    assert (area_under(curve), equal_error_rate(curve), true_accept_rate(curve, 0.01)) == (0.5, 0.5, 0)


def test_a_rate_below_one_impostor_has_no_figure() -> None:
    """Of 100 impostors 1 % is one, and 0.9 % none."""
    curve = curve_of([0.9], [0.1] * 100)
    assert true_accept_rate(curve, 0.01) is not None
    assert true_accept_rate(curve, 0.009) is None


def test_a_rate_is_the_number_it_is_written_as() -> None:
    """0.29 x 100 is below 29 in floating point; the 29th impostor is the only one above the genuine pair."""
    impostor = [1.0] * 29 + [0.0] * 71
    assert true_accept_rate(curve_of([0.5], impostor), 0.29) == 1


@pytest.mark.parametrize(("genuine", "impostor"), [([], []), ([0.1], []), ([], [0.1, 0.2])])
def test_without_a_kind_of_pairs_there_is_no_figure(genuine: list[float], impostor: list[float]) -> None:
    curve = curve_of(genuine, impostor)
    assert area_under(curve) is equal_error_rate(curve) is true_accept_rate(curve, 0.5) is None
    assert best_threshold(curve) is None


@pytest.mark.parametrize("levels", [3, 20, 10**6])
@pytest.mark.parametrize("seed", range(6))
def test_figures_are_those_of_all_thresholds_tried(seed: int, levels: int) -> None:
    """Three levels tie nearly everything; a million tie nothing."""
    draw = np.random.default_rng(seed)
    values = draw.integers(0, levels, 90) / levels
    genuine = draw.random(90) < 0.3
    curve, pairs = roc(values, genuine), list(zip(values.tolist(), genuine.tolist(), strict=True))
    assert area_under(curve) == pytest.approx(oracle.auc(pairs), abs=1e-12)
    assert area_under(curve) == pytest.approx(roc_auc_score(genuine, values), abs=1e-12)
    assert equal_error_rate(curve) == pytest.approx(oracle.eer(pairs), abs=1e-12)
    for limit in (0.001, 0.02, 0.1, 0.33):
        assert true_accept_rate(curve, limit) == pytest.approx(oracle.tar(pairs, limit), abs=1e-12)
    assert best_threshold(curve) == pytest.approx(oracle.strictest_best_threshold(pairs))


def test_the_best_threshold_lies_half_way_and_weighs_both_kinds_alike() -> None:
    """Accepting the two genuine pairs costs one of nine impostors: 1 + 8/9; between 0.6 and 0.4 lies 0.5."""
    assert best_threshold(curve_of([0.9, 0.6], [0.7, *[0.4] * 8])) == pytest.approx(0.5)


def test_where_nothing_is_better_than_accepting_none_the_threshold_is_infinite() -> None:
    assert best_threshold(curve_of([0.5], [0.5])) == math.inf
    assert best_threshold(curve_of([0.1], [0.9])) == math.inf


def test_the_order_of_the_pairs_does_not_matter() -> None:
    draw = np.random.default_rng(0)
    values, genuine = draw.integers(0, 4, 60) / 4, draw.random(60) < 0.5
    turned = draw.permutation(60)
    one, other = roc(values, genuine), roc(values[turned], genuine[turned])
    assert np.array_equal(one.true, other.true)
    assert np.array_equal(one.false, other.false)
