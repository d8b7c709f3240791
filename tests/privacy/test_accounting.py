"""Epsilon, against another library, a closed form and laws that every accountant obeys."""

from __future__ import annotations

import math
from functools import cache

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from fedmetric.errors import ConfigError
from fedmetric.privacy.accounting import (
    Charge,
    analytic_gaussian_noise,
    epsilon_of,
    gaussian_delta,
    gaussian_epsilon,
    noise_for,
    renyi_epsilon_of,
)

pytest.importorskip("dp_accounting", reason="the extra 'dp' is not installed")

SETTINGS = [
    (1.0, 0.1, 100, 1e-3), (0.7, 0.05, 500, 1e-4), (1.1, 256 / 60000, 3516, 1e-5),
    (2.0, 0.1, 100, 1e-5), (0.8, 0.02, 200, 1e-5), (4.0, 0.5, 50, 1e-4), (1.5, 0.01, 1000, 1e-6),
    (1.0, 0.01, 10, 1e-5), (3.0, 0.2, 300, 1e-5), (0.6, 0.01, 100, 1e-5), (1.2, 0.3, 20, 1e-3), (5.0, 0.9, 30, 1e-5),
]  # fmt: skip
"""Noise multiplier, sampling rate, releases, delta."""


@pytest.mark.parametrize(
    ("setting", "renyi", "pld"),
    [
        ((1.0, 1.0, 50, 1e-2), 44.419, 40.588),
        ((1.0, 0.1, 100, 1e-3), 5.655, 4.784),
        ((0.7, 0.05, 500, 1e-4), 16.126, 14.298),
        ((1.1, 256 / 60000, 3516, 1e-5), 1.281, 1.134),
    ],
)
def test_the_reference_settings_have_their_printed_epsilons(
    setting: tuple[float, float, int, float], renyi: float, pld: float
) -> None:
    noise, rate, times, delta = setting
    assert epsilon_of([Charge(noise, rate, times)], delta) == pytest.approx(pld, abs=6e-4)
    assert renyi_epsilon_of([Charge(noise, rate, times)], delta) == pytest.approx(renyi, abs=6e-4)


@pytest.mark.parametrize(("noise", "rate", "times", "delta"), SETTINGS)
def test_another_library_agrees_within_half_a_percent(noise: float, rate: float, times: int, delta: float) -> None:
    accountants = pytest.importorskip("opacus.accountants", reason="the extra 'dp' is not installed")
    from fedmetric.privacy.accounting import RDP_ORDERS

    renyi, tight = accountants.RDPAccountant(), accountants.PRVAccountant()
    renyi.history = tight.history = [(noise, rate, times)]
    charges = [Charge(noise, rate, times)]
    expected = renyi.get_epsilon(delta, alphas=[order for order in RDP_ORDERS if order > 1])
    assert renyi_epsilon_of(charges, delta) == pytest.approx(expected, rel=5e-3)
    found = epsilon_of(charges, delta)
    assert found == pytest.approx(tight.get_epsilon(delta, eps_error=0.002 * found, delta_error=delta / 1000), rel=5e-3)


@pytest.mark.parametrize(
    ("noise", "times", "delta"), [(1.0, 50, 1e-2), (5.0, 10, 1e-5), (0.3, 1, 1e-6), (20, 400, 1e-4)]
)
def test_without_sampling_epsilon_is_that_of_one_gaussian(noise: float, times: int, delta: float) -> None:
    """Telling N(0, 1) from N(mu, 1): the best test's delta at epsilon, integrated over where the ratio exceeds it."""
    mu = math.sqrt(times) / noise

    def excess(epsilon: float) -> float:
        threshold = epsilon / mu + mu / 2  # of the log of the ratio
        return float(norm.sf(threshold - mu) - math.exp(epsilon) * norm.sf(threshold) - delta)

    expected = brentq(excess, 0.0, 500.0, xtol=1e-10)
    assert epsilon_of([Charge(noise, 1.0, times)], delta) == pytest.approx(expected, rel=1e-6)
    assert gaussian_epsilon(mu, delta) == pytest.approx(expected, rel=1e-6)
    assert gaussian_delta(mu, expected) == pytest.approx(delta, rel=1e-4)


def test_epsilon_grows_with_releases_and_rate_and_shrinks_with_noise() -> None:
    @cache
    def epsilon(noise: float = 1.0, rate: float = 0.1, times: int = 50) -> float:
        return epsilon_of([Charge(noise, rate, times)], 1e-5)

    assert epsilon(times=10) < epsilon(times=50) < epsilon(times=200)
    assert epsilon(rate=0.02) < epsilon(rate=0.1) < epsilon(rate=0.4) < epsilon(rate=1.0)
    assert epsilon(noise=4.0) < epsilon(noise=1.0) < epsilon(noise=0.7)


def test_charges_add_up_in_any_order_and_any_grouping() -> None:
    parts = [Charge(1.0, 0.1, 30), Charge(2.0, 0.5, 5), Charge(1.0, 0.1, 20)]
    whole = [Charge(2.0, 0.5, 5), Charge(1.0, 0.1, 50)]
    assert epsilon_of(parts, 1e-5) == epsilon_of(whole, 1e-5) == epsilon_of(reversed(parts), 1e-5)
    assert epsilon_of([], 1e-5) == 0.0
    assert epsilon_of([Charge(1.0, 0.1, 0)], 1e-5) == 0.0


def test_one_release_without_noise_spends_everything() -> None:
    assert epsilon_of([Charge(1.0, 0.1, 30), Charge(0.0, 0.1)], 1e-5) == math.inf


@pytest.mark.parametrize("charge", [Charge(0.02, 0.5, 500), Charge(0.01, 1.0, 1000), Charge(0.1, 0.01, 2000)])
def test_hardly_any_noise_is_accounted_for_without_filling_the_memory(charge: Charge) -> None:
    assert 100 < epsilon_of([charge], 1e-5) < math.inf


@pytest.mark.parametrize(("epsilon", "rate", "times"), [(8.0, 0.1, 50), (1.0, 1.0, 20), (3.0, 0.02, 200)])
def test_the_noise_for_an_epsilon_spends_it_and_hardly_less(epsilon: float, rate: float, times: int) -> None:
    noise = noise_for(epsilon, 1e-5, rate, times)
    assert 0.99 * epsilon < epsilon_of([Charge(noise, rate, times)], 1e-5) <= epsilon


def test_the_analytic_gaussian_is_tight_where_the_classical_one_wastes_noise() -> None:
    noise = analytic_gaussian_noise(0.5, 1e-5)
    assert gaussian_epsilon(1 / noise, 1e-5) == pytest.approx(0.5)
    assert noise < math.sqrt(2 * math.log(1.25e5)) / 0.5


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_a_delta_that_is_no_probability_is_refused(delta: float) -> None:
    with pytest.raises(ConfigError, match="must be above 0 and below 1"):
        epsilon_of([Charge(1.0)], delta)


@pytest.mark.parametrize("wrong", [(-1.0, 1.0, 1), (1.0, 0.0, 1), (1.0, 1.1, 1), (1.0, 1.0, -1), (math.nan, 1.0, 1)])
def test_a_charge_that_no_mechanism_makes_is_refused(wrong: tuple[float, float, int]) -> None:
    with pytest.raises(ValueError, match="a charge has noise >= 0"):
        Charge(*wrong)


def test_an_epsilon_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="both must be above 0"):
        noise_for(0.0, 1e-5, 0.1, 10)
