"""Canary clients: each sends one random direction, and the model's total step tells whether it took part.

G. Andrew, P. Kairouz, S. Oh, A. Oprea, H. B. McMahan, V. M. Suriyakumar, "One-shot Empirical Privacy Estimation for
Federated Learning", ICLR 2024: algorithm 1 (final model). The cosine of an unseen random unit direction c_j with the
step w_T - w_0 is nearly N(0, 1/d); those of the canaries that took part are fitted by N(mean, sd^2), and epsilon is
that of telling the two Gaussians apart at delta.

Unit: one client. Adversary: sees the initial and the final model. Relation: add/remove of one client.
Two figures, of which neither is a proof:
* `gaussian_epsilon` is an ESTIMATE for this attack, not a bound: it trusts the Gaussians and the fitted mean and sd.
  The sd of k canaries is known to a share of 1 / sqrt(2 k) only, and an sd that is too large by chance looks like a
  leak: take hundreds.
* `rate_bound` is a lower bound as far as the canaries are independent trials; those of one run share the step's norm.
The bound that holds without that is `one_run`, with fair coins deciding which canaries take part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fedmetric.errors import ConfigError, DataError
from fedmetric.privacy.audit.broken import epsilon_of_rates
from fedmetric.privacy.audit.intervals import clopper_pearson

SIGNIFICANCE = 0.05
BISECTIONS = 60


@dataclass(frozen=True)
class CanaryEstimate:
    """What the canaries that took part look like against those that did not.

    Attributes:
        num_canaries: k.
        dimensions: d.
        mean: of the k cosines; 0 where nothing of them is left in the model.
        sd: sample deviation of the k cosines (ddof 1).
        chance_sd: 1 / sqrt(d), the deviation of an unseen direction's cosine.
        epsilon: estimate at `delta`, not a bound.
        delta: that it is for.
    """

    num_canaries: int
    dimensions: int
    mean: float
    sd: float
    chance_sd: float
    epsilon: float
    delta: float


def unit_directions(num: int, dimensions: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Draw random directions, uniform on the sphere.

    Args:
        num: k directions.
        dimensions: d, the parameters of an update, 1 at least.
        generator: from a seed that the server's code under audit does not see; draws row by row, so that the
            directions can be drawn again in blocks.

    Returns:
        (k, d) float32, unit norm.
    """
    drawn = generator.standard_normal((num, dimensions), dtype=np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def cosines(directions: NDArray[np.floating], step: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the cosine of each direction with the model's step.

    Args:
        directions: (k, d) float, any norm but 0.
        step: (d,) float, w_T - w_0.

    Returns:
        (k,) float64; all 0 where the step is 0.

    Raises:
        DataError: a step of another length, or one that is not finite.
    """
    if step.ndim != 1 or directions.ndim != 2 or directions.shape[1] != len(step):
        raise DataError(f"directions of shape {directions.shape} but a step of shape {step.shape}")
    if not np.isfinite(step).all():
        raise DataError("the model's step is not finite; there is no direction to compare")
    norm = float(np.linalg.norm(step.astype(np.float64)))
    if norm == 0:
        return np.zeros(len(directions))
    unit = step.astype(np.float64) / norm
    # a row at a time in float64: a whole copy of the directions would be k x d x 8 bytes
    return np.array([row.astype(np.float64) @ unit / np.linalg.norm(row.astype(np.float64)) for row in directions])


def estimate(inside: NDArray[np.float64], dimensions: int, delta: float) -> CanaryEstimate:
    """Fit a Gaussian to the cosines of the canaries that took part and compare it with that of chance.

    Args:
        inside: (k,) float64 cosines, k >= 2.
        dimensions: d.
        delta: above 0 and below 1.

    Raises:
        DataError: fewer than two canaries, or all cosines equal: no deviation can be fitted.
        ConfigError: a delta out of range.
    """
    if len(inside) < 2:
        raise DataError(f"{len(inside)} canary clients; a deviation takes two at least, and a useful one a hundred")
    mean, sd = float(inside.mean()), float(inside.std(ddof=1))
    if not (math.isfinite(sd) and sd > 0):
        raise DataError("the cosines of all canary clients are equal or not finite; the model's step is 0 or broken")
    chance = 1 / math.sqrt(dimensions)
    epsilon = gaussian_epsilon(mean / chance, sd / chance, delta)
    return CanaryEstimate(len(inside), dimensions, mean, sd, chance, epsilon, delta)


def gaussian_epsilon(mean: float, sd: float, delta: float) -> float:
    """Return the epsilon of telling N(mean, sd^2) from N(0, 1) at delta.

    It is the smallest one for which neither hockey-stick divergence exceeds delta. With sd = 1 it is the epsilon of one
    Gaussian mechanism with noise multiplier 1 / |mean|: 0 for mean = 0, and without end as |mean| grows.

    Args:
        mean: finite.
        sd: above 0.
        delta: above 0 and below 1.

    Raises:
        ConfigError: a deviation or a delta out of range.
    """
    if not 0 < delta < 1:
        raise ConfigError(f"delta={delta:g}; give a number between 0 and 1")
    if not sd > 0:
        raise ConfigError(f"sd={sd:g}; give a deviation above 0")

    def divergence(epsilon: float) -> float:
        return max(hockey_stick((mean, sd), (0.0, 1.0), epsilon), hockey_stick((0.0, 1.0), (mean, sd), epsilon))

    if divergence(0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while divergence(high) > delta:
        low, high = high, 2 * high
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if divergence(middle) > delta:
            low = middle
        else:
            high = middle
    return high


def hockey_stick(first: tuple[float, float], second: tuple[float, float], epsilon: float) -> float:
    """Return sup over events S of P(S) - e^epsilon Q(S) for two Gaussians: the delta that epsilon takes, one way.

    The best event is where ln p(x) - ln q(x) = a x^2 + b x + c exceeds epsilon: a half-line where the deviations are
    equal, the outside of an interval where P is the wider one, else its inside.

    Args:
        first: mean and deviation of P.
        second: of Q.
        epsilon: any.
    """
    (mean_p, sd_p), (mean_q, sd_q) = first, second
    a = (1 / sd_q**2 - 1 / sd_p**2) / 2
    b = mean_p / sd_p**2 - mean_q / sd_q**2
    c = math.log(sd_q / sd_p) + ((mean_q / sd_q) ** 2 - (mean_p / sd_p) ** 2) / 2 - epsilon
    if a == 0:
        if b == 0:
            return max(0.0, 1 - math.exp(epsilon)) if c > 0 else 0.0
        event = [(-c / b, math.inf)] if b > 0 else [(-math.inf, -c / b)]
    else:
        root = b * b - 4 * a * c
        if root <= 0:  # one sign everywhere
            event = [(-math.inf, math.inf)] if a > 0 else []
        else:
            # the root that does not cancel first, then the other by the product of both
            large = -(b + math.copysign(math.sqrt(root), b)) / 2
            left, right = sorted((large / a, c / large))
            event = [(-math.inf, left), (right, math.inf)] if a > 0 else [(left, right)]
    return max(0.0, sum(_mass(part, mean_p, sd_p, 0.0) - _mass(part, mean_q, sd_q, epsilon) for part in event))


def rate_bound(
    inside: NDArray[np.float64],
    outside: NDArray[np.float64],
    threshold: float,
    delta: float,
    significance: float = SIGNIFICANCE,
) -> float:
    """Return a lower bound on epsilon from how many canaries pass a threshold, with Clopper-Pearson limits.

    Args:
        inside: (k,) cosines of canaries that took part.
        outside: (n,) cosines of directions drawn alike that did not; they cost nothing, so n may be large.
        threshold: fixed before the cosines were seen, such as 2 / sqrt(d).
        delta: of the claim, 0 to 1.
        significance: chance that the bound exceeds the truth, if the canaries are independent trials.

    Returns:
        At least 0, which says nothing.

    Raises:
        ConfigError: a delta or significance out of range.
    """
    # one-sided limits of significance / 2 each: both hold with probability 1 - significance
    tpr = clopper_pearson(int((inside > threshold).sum()), len(inside), 1 - significance).low
    fpr = clopper_pearson(int((outside > threshold).sum()), len(outside), 1 - significance).high
    return epsilon_of_rates(tpr, fpr, delta)


def _mass(part: tuple[float, float], mean: float, sd: float, epsilon: float) -> float:
    """Return e^epsilon times the probability of an interval; in logarithms, as one overflows where the other is 0."""
    left, right = ((end - mean) / sd for end in part)
    if left > 0:  # the same interval mirrored, where the lower tail keeps its digits
        left, right = -right, -left
    upper, lower = float(stats.norm.logcdf(right)), float(stats.norm.logcdf(left))
    if upper == -math.inf or lower == upper:
        return 0.0
    return math.exp(epsilon + upper + math.log(-math.expm1(lower - upper)))
