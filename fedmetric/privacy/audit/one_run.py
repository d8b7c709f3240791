"""A lower bound on epsilon from the canaries of one training run.

T. Steinke, M. Nasr, M. Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023: algorithm 1 draws the
bits and makes the guesses; the main theorem for approximate DP bounds the chance of v right guesses of r under
(eps, delta) by beta + 2 m delta alpha, with

    q = 1 / (1 + e^-eps)                                    accuracy of eps-DP randomised response
    beta = P[Bin(r, q) >= v]
    alpha = max over i in 1..m of P[v - i <= Bin(r, q) < v] / i

Unit: whatever one canary is (a client, an image). Relation: add/remove of one canary.
The bound holds with confidence 1 - significance for ONE number of guesses, chosen before the bits were seen; taking the
best of several numbers voids it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fedmetric.errors import ConfigError, DataError

SIGNIFICANCE = 0.05
MAX_EPSILON = 40.0
"""1 - q is 4e-18 here: no audit that fits a computer comes near it."""
BISECTIONS = 60


def p_value(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    """Bound the chance that v of r guesses or more are right although the mechanism is (epsilon, delta)-DP.

    Args:
        m: canaries, each in or out by a fair coin.
        r: guesses, 0 to m; the auditor abstains from the others.
        v: right guesses, 0 to r.
        epsilon: at least 0.
        delta: from 0 to 1.

    Returns:
        beta + 2 m delta alpha, at most 1.

    Raises:
        ConfigError: numbers that are not ordered 0 <= v <= r <= m, or a delta outside [0, 1].
    """
    _check(m, r, v, delta)
    # Counted in wrong guesses, whose rate 1 - q keeps its digits where q is nearly 1: P[Bin >= v - i] for i in 0..v.
    # Beyond i = v the probability grows no more and the division by i only lowers it.
    wrong = np.arange(r - v, r + 1)
    at_least = stats.binom.cdf(wrong, r, 1 / (1 + math.exp(epsilon)))
    beta = float(at_least[0])
    alpha = float(((at_least[1:] - beta) / np.arange(1, v + 1)).max(initial=0.0))
    return min(1.0, beta + 2 * m * delta * alpha)


def epsilon_lower_bound(m: int, r: int, v: int, delta: float, significance: float = SIGNIFICANCE) -> float:
    """Return the largest epsilon that v right guesses of r rule out.

    The p-value rises with epsilon as long as 2 m delta <= 1; with more canaries the bisection still ends at an epsilon
    that is ruled out, though maybe not at the largest.

    Args:
        m: canaries.
        r: guesses, 0 to m, chosen before the bits were seen.
        v: right guesses, 0 to r.
        delta: of the claim that is audited.
        significance: chance that the bound exceeds the truth, above 0 and below 1.

    Returns:
        At least 0, which says nothing; at most `ceiling(m, delta)` as long as 2 m delta <= 1.

    Raises:
        ConfigError: numbers that are not ordered 0 <= v <= r <= m, or a delta or significance out of range.
    """
    if not 0 < significance < 1:
        raise ConfigError(f"significance={significance:g}; give a number between 0 and 1, such as 0.05")
    if p_value(m, r, v, 0.0, delta) >= significance:
        return 0.0
    low, high = 0.0, MAX_EPSILON
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if p_value(m, r, v, middle, delta) < significance:
            low = middle
        else:
            high = middle
    return low


def ceiling(m: int, delta: float, significance: float = SIGNIFICANCE) -> float:
    """Return the bound of a perfect attack, right about all m canaries: no audit with m canaries can show more."""
    return epsilon_lower_bound(m, m, m, delta, significance)


def right_guesses(
    scores: NDArray[np.float64], included: NDArray[np.bool_], num_guesses: int, generator: np.random.Generator
) -> int:
    """Guess the highest scores in and the lowest out, and count the right guesses.

    Args:
        scores: (m,) float, one a canary; higher means "was included".
        included: (m,) bool, the fair coins that decided which canaries took part.
        num_guesses: r, even, from 0 to m: half of them in, half out.
        generator: breaks ties, so that the order of the canaries cannot give their bits away.

    Returns:
        v, from 0 to r; r / 2 on average for scores that say nothing.

    Raises:
        ConfigError: an odd number of guesses, or more than canaries.
        DataError: scores and bits of different number, or a score that is not finite.
    """
    if len(scores) != len(included):
        raise DataError(f"{len(scores)} canary scores but {len(included)} bits")
    if not np.isfinite(scores).all():
        raise DataError("a canary's score is not finite")
    if num_guesses % 2 or not 0 <= num_guesses <= len(scores):
        raise ConfigError(f"{num_guesses} guesses about {len(scores)} canaries; give an even number up to that")
    half = num_guesses // 2
    shuffled = generator.permutation(len(scores))
    bits = included[shuffled][np.argsort(scores[shuffled], kind="stable")].astype(bool)  # from the lowest score
    return int((~bits[:half]).sum() + bits[len(bits) - half :].sum())


def _check(m: int, r: int, v: int, delta: float) -> None:
    if not 0 <= v <= r <= m:
        raise ConfigError(f"{v} right of {r} guesses about {m} canaries; the numbers must not fall from left to right")
    if not 0 <= delta <= 1:
        raise ConfigError(f"delta={delta:g}; give a number from 0 to 1")
