from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from fedmetric.errors import ConfigError, DataError
from fedmetric.privacy.audit.canary_clients import (
    cosines,
    estimate,
    gaussian_epsilon,
    hockey_stick,
    rate_bound,
    unit_directions,
)

DIMENSIONS = 4000
CANARIES = 400
DELTA = 1e-2


def run(noise: float, seed: int, *, take_part: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Sum the canaries' unit updates, add noise, and return the cosines of the canaries and of other directions."""
    draw = np.random.default_rng(seed)
    directions, unseen = unit_directions(CANARIES, DIMENSIONS, draw), unit_directions(1000, DIMENSIONS, draw)
    step = noise * draw.standard_normal(DIMENSIONS) + take_part * directions.sum(axis=0)
    return cosines(directions, step), cosines(unseen, step)


def divergence_of_integral(first: tuple[float, float], second: tuple[float, float], epsilon: float) -> float:
    """Integral of max(0, p - e^epsilon q) on a fine grid."""
    grid = np.linspace(-40, 40, 400_001)
    excess = stats.norm.pdf(grid, *first) - math.exp(epsilon) * stats.norm.pdf(grid, *second)
    return float(integrate.trapezoid(np.maximum(0, excess), grid))


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 3.0])
@pytest.mark.parametrize(
    ("first", "second"),
    [((1, 1), (0, 1)), ((-2, 1), (0, 1)), ((1, 1.3), (0, 1)), ((0, 1), (1, 1.3)), ((0, 2), (0, 1)), ((0, 1), (0, 2)),
     ((3, 0.5), (0, 1)), ((0, 1), (3, 0.5)), ((0, 1), (0, 1)), ((5, 1), (0, 1.0000001))],
)  # fmt: skip
def test_the_divergence_is_the_integral_of_the_excess(
    first: tuple[float, float], second: tuple[float, float], epsilon: float
) -> None:
    assert hockey_stick(first, second, epsilon) == pytest.approx(
        divergence_of_integral(first, second, epsilon), abs=1e-6
    )


@pytest.mark.parametrize(("noise", "epsilon"), [(1.0, 4.3772), (0.5, 9.9973)])
def test_equal_deviations_are_the_gaussian_mechanism(noise: float, epsilon: float) -> None:
    """At delta 1e-5, from Balle and Wang's equation (ICML 2018, theorem 8), either sign of the mean."""
    first = stats.norm.cdf(0.5 / noise - epsilon * noise)
    assert first - math.exp(epsilon) * stats.norm.cdf(-0.5 / noise - epsilon * noise) == pytest.approx(1e-5, rel=1e-3)
    assert gaussian_epsilon(1 / noise, 1.0, 1e-5) == pytest.approx(epsilon, abs=1e-3)
    assert gaussian_epsilon(-1 / noise, 1.0, 1e-5) == pytest.approx(epsilon, abs=1e-3)


def test_a_probability_that_underflows_still_counts_times_e_to_the_epsilon() -> None:
    """N(50, 1) exceeds e^1250 N(0, 1) above 50: a half, less e^1250 Q(50) = 1 / (50 sqrt(2 pi)) to first order."""
    assert hockey_stick((50, 1), (0, 1), 1250) == pytest.approx(0.5 - 1 / (50 * math.sqrt(2 * math.pi)), abs=1e-5)


def test_the_epsilon_is_where_the_worse_divergence_is_delta() -> None:
    for mean, sd in ((1.0, 1.4), (1.0, 0.7), (0.0, 3.0)):
        epsilon = gaussian_epsilon(mean, sd, 1e-3)
        divergences = [hockey_stick((mean, sd), (0, 1), epsilon), hockey_stick((0, 1), (mean, sd), epsilon)]
        assert max(divergences) == pytest.approx(1e-3, rel=1e-6)


def test_the_epsilon_does_not_depend_on_which_gaussian_is_called_chance() -> None:
    """N(m, s^2) against N(0, 1) is, in units of s and mirrored, N(m / s, 1 / s^2) against N(0, 1)."""
    assert gaussian_epsilon(1.2, 1.5, 1e-4) == pytest.approx(gaussian_epsilon(1.2 / 1.5, 1 / 1.5, 1e-4))


def test_equal_gaussians_have_epsilon_0_and_distant_ones_a_large_one() -> None:
    assert gaussian_epsilon(0.0, 1.0, 1e-5) == 0
    assert gaussian_epsilon(0.1, 1.0, 1e-5) < gaussian_epsilon(1.0, 1.0, 1e-5) < gaussian_epsilon(100.0, 1.0, 1e-5)
    assert math.isfinite(gaussian_epsilon(1000.0, 2.0, 1e-5))


def test_cosines_as_by_hand_and_0_for_a_step_of_0() -> None:
    directions = np.array([[1.0, 0], [0, 2], [-3, 0], [1, 1]])
    assert cosines(directions, np.array([5.0, 0])) == pytest.approx([1, 0, -1, math.sqrt(0.5)])
    assert cosines(directions, np.zeros(2)).tolist() == [0, 0, 0, 0]


def test_directions_have_norm_1_and_come_the_same_in_blocks() -> None:
    whole = unit_directions(6, 33, np.random.default_rng(0))
    draw = np.random.default_rng(0)
    blocks = np.concatenate([unit_directions(2, 33, draw), unit_directions(4, 33, draw)])
    assert np.array_equal(whole, blocks)
    assert np.linalg.norm(whole, axis=1) == pytest.approx(1, abs=1e-6)


def test_an_unseen_direction_has_cosines_of_mean_0_and_deviation_one_over_root_d() -> None:
    draw = np.random.default_rng(0)
    got = cosines(unit_directions(2000, 400, draw), np.arange(400.0))
    assert got.mean() == pytest.approx(0, abs=4 / 20 / math.sqrt(2000))
    assert got.std() == pytest.approx(1 / 20, rel=0.06)


@pytest.mark.parametrize("seed", range(5))
def test_canaries_that_did_not_take_part_look_like_chance(seed: int) -> None:
    inside, outside = run(1.0, seed, take_part=False)
    fitted = estimate(inside, DIMENSIONS, DELTA)
    assert abs(fitted.mean) < 4 * fitted.chance_sd / math.sqrt(CANARIES)
    assert fitted.epsilon < 0.3  # what a deviation fitted to 400 draws leaves at this delta
    assert rate_bound(inside, outside, 2 * fitted.chance_sd, DELTA) == 0


@pytest.mark.parametrize("seed", range(5))
def test_canaries_that_took_part_are_estimated_as_the_mechanism_is(seed: int) -> None:
    """The step's squared norm is k + d s^2, so a canary is hidden by noise of sqrt(s^2 + k / d): 1.05 for s = 1."""
    inside, outside = run(1.0, seed)
    fitted = estimate(inside, DIMENSIONS, DELTA)
    truth = gaussian_epsilon(1 / math.sqrt(1 + CANARIES / DIMENSIONS), 1.0, DELTA)
    assert fitted.mean == pytest.approx(fitted.chance_sd, rel=0.2)
    assert fitted.epsilon == pytest.approx(truth, rel=0.3)
    bound = rate_bound(inside, outside, fitted.chance_sd, DELTA)
    assert 0 < bound < truth


def test_noise_divided_by_ten_shows() -> None:
    (right, outside), (wrong, outside_of_wrong) = run(2.0, 0), run(0.2, 0)
    assert estimate(wrong, DIMENSIONS, DELTA).epsilon > 3 * estimate(right, DIMENSIONS, DELTA).epsilon
    threshold = 2 / math.sqrt(DIMENSIONS)
    claimed = gaussian_epsilon(1 / 2.0, 1.0, DELTA)
    assert rate_bound(right, outside, threshold, DELTA) <= claimed
    assert rate_bound(wrong, outside_of_wrong, threshold, DELTA) > claimed


def test_the_rate_bound_exceeds_the_truth_in_few_of_many_runs() -> None:
    """Independent trials of one Gaussian mechanism; at significance 0.05, at most 19 of 200 by three deviations."""
    draw, truth = np.random.default_rng(5), gaussian_epsilon(1.0, 1.0, DELTA)
    bounds = [rate_bound(draw.normal(1, 1, 100), draw.normal(0, 1, 1000), 1.0, DELTA) for _ in range(200)]
    assert sum(bound > truth for bound in bounds) <= 19
    assert np.median(bounds) > 0.2


def test_what_cannot_be_estimated_is_refused() -> None:
    with pytest.raises(DataError, match="1 canary clients"):
        estimate(np.zeros(1), 10, DELTA)
    with pytest.raises(DataError, match="all canary clients are equal"):
        estimate(np.zeros(5), 10, DELTA)
    with pytest.raises(DataError, match=r"shape \(2, 3\) but a step of shape \(4,\)"):
        cosines(np.ones((2, 3)), np.ones(4))
    with pytest.raises(DataError, match="not finite"):
        cosines(np.ones((2, 3)), np.array([0, 1, np.inf]))
    with pytest.raises(ConfigError, match="delta=0"):
        gaussian_epsilon(1, 1, 0)
    with pytest.raises(ConfigError, match="sd=0"):
        gaussian_epsilon(1, 0, 0.1)
