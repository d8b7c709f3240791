from __future__ import annotations

import math

import numpy as np
import pytest

from fedmetric.errors import ConfigError, DataError
from fedmetric.privacy.audit.one_run import MAX_EPSILON, ceiling, epsilon_lower_bound, p_value, right_guesses


def p_of_sums(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    """The formula of PRIVACY.md, section 5, with every probability summed from its binomial terms."""
    q = 1 / (1 + math.exp(-epsilon))
    mass = [math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(r + 1)]
    beta = sum(mass[k] for k in range(r + 1) if k >= v)
    alpha = max(sum(mass[k] for k in range(r + 1) if v - i <= k < v) / i for i in range(1, m + 1))
    return min(1.0, beta + 2 * m * delta * alpha)


def randomised_response(epsilon: float, bits: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Report each bit rightly with probability 1 / (1 + e^-epsilon): epsilon-DP in each bit, and nothing less."""
    kept = draw.random(len(bits)) < 1 / (1 + math.exp(-epsilon))
    return np.where(kept, bits, ~bits).astype(np.float64)


@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-2])
@pytest.mark.parametrize(("m", "r", "v"), [(1, 1, 1), (30, 20, 15), (30, 30, 30), (40, 10, 3), (30, 20, 0), (5, 0, 0)])
def test_the_p_value_is_the_sum_of_its_terms(m: int, r: int, v: int, delta: float) -> None:
    for epsilon in (0.0, 0.3, 1.0, 4.0):
        assert p_value(m, r, v, epsilon, delta) == pytest.approx(p_of_sums(m, r, v, epsilon, delta), abs=1e-12)


@pytest.mark.parametrize(("m", "documented"), [(100, 3.49), (1000, 5.78), (5000, 7.28)])
def test_the_ceiling_is_as_documented(m: int, documented: float) -> None:
    assert round(ceiling(m, 1e-5), 2) == documented


def test_the_ceiling_at_delta_0_is_a_closed_form() -> None:
    """q^m = 0.05, and epsilon = ln(q / (1 - q))."""
    q = 0.05 ** (1 / 200)
    assert ceiling(200, 0.0) == pytest.approx(math.log(q / (1 - q)), abs=1e-9)


@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-3])
def test_the_bound_rises_with_right_guesses_and_never_exceeds_the_ceiling(delta: float) -> None:
    top = ceiling(60, delta)
    for r in (10, 30, 60):
        bounds = [epsilon_lower_bound(60, r, v, delta) for v in range(r + 1)]
        assert bounds == sorted(bounds)
        assert bounds[r // 2] == 0 < bounds[-1] <= top
    assert bounds[-1] == top


def test_the_bound_falls_with_delta_with_more_canaries_and_with_more_certainty() -> None:
    bound = epsilon_lower_bound(1000, 100, 95, 1e-5)
    assert epsilon_lower_bound(1000, 100, 95, 1e-4) < bound < epsilon_lower_bound(1000, 100, 95, 0.0)
    assert epsilon_lower_bound(5000, 100, 95, 1e-5) < bound < epsilon_lower_bound(100, 100, 95, 1e-5)
    assert epsilon_lower_bound(1000, 100, 95, 1e-5, significance=0.001) < bound


def test_the_bound_is_where_the_p_value_reaches_the_significance() -> None:
    bound = epsilon_lower_bound(500, 200, 170, 1e-4)
    assert p_value(500, 200, 170, bound - 1e-6, 1e-4) < 0.05 <= p_value(500, 200, 170, bound + 1e-6, 1e-4)


def test_more_canaries_than_delta_bears_still_give_an_epsilon_that_is_ruled_out() -> None:
    """2 m delta = 4: the p-value is no longer monotone."""
    bound = epsilon_lower_bound(2000, 2000, 2000, 1e-3)
    assert 0 < bound < MAX_EPSILON
    assert p_value(2000, 2000, 2000, bound, 1e-3) < 0.05


def test_the_bound_of_randomised_response_is_below_the_truth_in_nearly_all_runs_and_not_far_below() -> None:
    """At significance 0.05 one run in twenty may exceed it: of 200, 20 would be three deviations too many."""
    draw, epsilon, cache, bounds = np.random.default_rng(7), 1.5, {}, []
    for _ in range(200):
        bits = draw.random(1000) < 0.5
        v = right_guesses(randomised_response(epsilon, bits, draw), bits, 400, draw)
        if v not in cache:
            cache[v] = epsilon_lower_bound(1000, 400, v, 0.0)
        bounds.append(cache[v])
    assert sum(bound > epsilon for bound in bounds) <= 19
    assert np.median(bounds) > 0.8 * epsilon


def test_a_mechanism_that_leaks_more_than_it_claims_is_caught() -> None:
    draw = np.random.default_rng(8)
    bits = draw.random(1000) < 0.5
    v = right_guesses(randomised_response(3.0, bits, draw), bits, 400, draw)
    assert epsilon_lower_bound(1000, 400, v, 1e-5) > 1.5


def test_guesses_are_counted_as_by_hand() -> None:
    """Highest two scores: in, out; lowest two: out, in: two of four right. Six guesses add 4 (in) and 3 (out)."""
    scores = np.array([6.0, 5, 4, 3, 2, 1])
    bits = np.array([True, False, True, False, True, False])
    draw = np.random.default_rng(0)
    assert right_guesses(scores, bits, 2, draw) == 2
    assert right_guesses(scores, bits, 4, draw) == 2
    assert right_guesses(scores, bits, 6, draw) == 4
    assert right_guesses(scores, bits, 0, draw) == 0
    assert right_guesses(-scores, bits, 6, draw) == 2


@pytest.mark.parametrize("members_first", [True, False])
def test_equal_scores_give_no_bit_away_however_the_canaries_are_ordered(members_first: bool) -> None:
    """A stable sort without the shuffle would be right about all 1000, or about none."""
    bits = (np.arange(1000) < 500) == members_first
    v = right_guesses(np.zeros(1000), bits, 1000, np.random.default_rng(0))
    assert 440 <= v <= 560


def test_scores_that_are_the_bits_are_all_guessed() -> None:
    draw = np.random.default_rng(0)
    bits = draw.permutation(np.arange(200) < 100)
    assert right_guesses(bits + 0.1 * draw.random(200), bits, 200, draw) == 200


def test_what_cannot_be_audited_is_refused() -> None:
    draw, bits = np.random.default_rng(0), np.ones(4, bool)
    with pytest.raises(ConfigError, match="5 right of 4 guesses"):
        epsilon_lower_bound(10, 4, 5, 1e-5)
    with pytest.raises(ConfigError, match="about 3 canaries"):
        p_value(3, 4, 2, 1.0, 1e-5)
    with pytest.raises(ConfigError, match="delta=2"):
        ceiling(10, 2)
    with pytest.raises(ConfigError, match="significance=5"):
        epsilon_lower_bound(10, 4, 2, 1e-5, significance=5)
    with pytest.raises(ConfigError, match="3 guesses about 4 canaries"):
        right_guesses(np.zeros(4), bits, 3, draw)
    with pytest.raises(DataError, match="3 canary scores but 4 bits"):
        right_guesses(np.zeros(3), bits, 2, draw)
    with pytest.raises(DataError, match="not finite"):
        right_guesses(np.full(4, np.nan), bits, 2, draw)
