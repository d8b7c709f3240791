"""What noise is worth: epsilon from noise multiplier, sampling rate and releases, and back.

Without sampling, Gaussian mechanisms compose into one, whose epsilon is known exactly (Balle and Wang, Improving the
Gaussian Mechanism for Differential Privacy: Analytical Calibration, ICML 2018). With it, epsilon is that of the
privacy loss distribution (Koskela, Jälkö, Honkela, Computing Tight Differential Privacy
Guarantees Using FFT, AISTATS 2020), computed by Google's dp-accounting with its default discretisation, which rounds
up; only where it would be above 100, and the distribution too wide for memory, the looser Rényi bound is given. That
bound (Mironov, Talwar, Zhang, Rényi Differential Privacy of the Sampled Gaussian Mechanism,
arXiv:1908.10530) is also there to compare with. Neighbours differ by one unit added or removed.

The libraries are in the extra "dp"; without it everything here raises ConfigError.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.stats import norm

from fedmetric.errors import ConfigError

MAX_NOISE = 2.0**20
WIDE = 100.0
"""Beyond this epsilon, which protects nobody, the Rényi bound is good enough."""
RDP_ORDERS = [1 + x / 10 for x in range(1, 100)] + list(range(11, 64)) + [128, 256, 512, 1024]


@dataclass(frozen=True)
class Charge:
    """Releases of one kind: the Gaussian mechanism on a random sample, `times` times over.

    Attributes:
        noise: standard deviation of the noise over the sensitivity, z; 0 hides nothing.
        rate: probability with which a unit takes part, q; 1 is no sampling.
        times: releases.
    """

    noise: float
    rate: float = 1.0
    times: int = 1

    def __post_init__(self) -> None:
        """Refuse what no mechanism does."""
        if not (self.noise >= 0 and 0 < self.rate <= 1 and self.times >= 0):
            raise ValueError(f"a charge has noise >= 0, 0 < rate <= 1 and times >= 0, not {self}")


def epsilon_of(charges: Iterable[Charge], delta: float) -> float:
    """Return the epsilon of all charges together.

    Args:
        charges: in any order; infinite where one of them has no noise.
        delta: probability of failure, above 0 and below 1.
    """
    check_delta(delta)
    merged = _merged(charges)
    if any(charge.noise == 0 for charge in merged):
        return math.inf
    if all(charge.rate == 1 for charge in merged):
        return gaussian_epsilon(math.sqrt(sum(charge.times / charge.noise**2 for charge in merged)), delta)
    bound = _composed(merged, delta, "rdp")
    return bound if bound > WIDE else _composed(merged, delta, "pld")


def renyi_epsilon_of(charges: Iterable[Charge], delta: float) -> float:
    """Return the looser epsilon from Rényi divergences; see `epsilon_of`."""
    check_delta(delta)
    merged = _merged(charges)
    return math.inf if any(charge.noise == 0 for charge in merged) else _composed(merged, delta, "rdp")


def _merged(charges: Iterable[Charge]) -> tuple[Charge, ...]:
    """Count equal charges together; their order does not matter."""
    counts: dict[tuple[float, float], int] = {}
    for charge in charges:
        key = (charge.noise, charge.rate)
        counts[key] = counts.get(key, 0) + charge.times
    return tuple(Charge(noise, rate, times) for (noise, rate), times in sorted(counts.items()) if times)


@lru_cache(maxsize=256)
def _composed(charges: tuple[Charge, ...], delta: float, method: str) -> float:
    if not charges:
        return 0.0
    accounting = dp_accounting()
    relation = accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    if method == "pld":
        accountant: Any = accounting.pld.PLDAccountant(neighboring_relation=relation)
    else:
        accountant = accounting.rdp.RdpAccountant(RDP_ORDERS, neighboring_relation=relation)
    with _quiet():
        for charge in charges:
            event = accounting.GaussianDpEvent(charge.noise)
            if charge.rate < 1:
                event = accounting.PoissonSampledDpEvent(charge.rate, event)
            accountant.compose(accounting.SelfComposedDpEvent(event, charge.times))
        return float(accountant.get_epsilon(delta))


def noise_for(epsilon: float, delta: float, rate: float, times: int) -> float:
    """Return the smallest noise multiplier whose epsilon is at most the one given, to 0.1 %.

    Args:
        epsilon: above 0.
        delta: see `epsilon_of`.
        rate: see `Charge`.
        times: releases, at least 1.

    Raises:
        ConfigError: no noise below 2^20 is enough.
    """
    if not epsilon > 0 or times < 1:
        raise ConfigError(f"epsilon = {epsilon:g} over {times} releases: both must be above 0")
    low, high = 0.0, 1.0
    while epsilon_of([Charge(high, rate, times)], delta) > epsilon:
        low, high = high, 2 * high
        if high > MAX_NOISE:
            raise ConfigError(f"epsilon = {epsilon:g} at delta = {delta:g} cannot be reached with any noise")
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        if epsilon_of([Charge(middle, rate, times)], delta) > epsilon:
            low = middle
        else:
            high = middle
    return high


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Return delta of telling N(0, 1) from N(mu, 1): Balle and Wang, equation 6, with mu = 1 / z."""
    if mu == 0:
        return 0.0
    first = norm.cdf(mu / 2 - epsilon / mu)
    second = math.exp(epsilon + norm.logcdf(-mu / 2 - epsilon / mu))
    return float(max(0.0, first - second))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return the exact epsilon of Gaussian mechanisms without sampling: T of multiplier z have mu = sqrt(T) / z."""
    check_delta(delta)
    return _least(lambda epsilon: gaussian_delta(mu, epsilon) <= delta)


def analytic_gaussian_noise(epsilon: float, delta: float) -> float:
    """Return the smallest noise multiplier of one Gaussian release with this epsilon and delta; see `gaussian_epsilon`.

    Unlike the classical sqrt(2 ln(1.25 / delta)) / epsilon it is tight, and holds for epsilon above 1 too.
    """
    check_delta(delta)
    return _least(lambda noise: noise > 0 and gaussian_delta(1 / noise, epsilon) <= delta)


def _least(holds: Callable[[float], bool]) -> float:
    """Return the least number >= 0 from which on a condition holds, to a relative 1e-12."""
    if holds(0.0):
        return 0.0
    high = 1.0
    while not holds(high):
        high *= 2
    low = 0.0
    while high - low > 1e-12 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def check_delta(delta: float) -> float:
    """Return delta if it is a probability of failure.

    Raises:
        ConfigError: it is not above 0 and below 1.
    """
    if not 0 < delta < 1:
        raise ConfigError(f"delta = {delta:g} must be above 0 and below 1; well below one over the number of units")
    return delta


def dp_accounting() -> Any:
    """Import Google's dp-accounting.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import dp_accounting as library
        from dp_accounting import pld, rdp  # noqa: F401 - attributes of the package once imported
    except ImportError as error:
        raise ConfigError("this needs dp-accounting; install fedmetric[dp]") from error
    return library


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep dp-accounting from warning of orders that it leaves out: without them the bound is larger, never wrong."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        logger.setLevel(before)
