from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fedmetric.errors import ConfigError, FedmetricError
from fedmetric.privacy.audit.broken import (
    BrokenGuaranteeError,
    epsilon_of_rates,
    require_epsilon,
    require_rates,
    violates,
)

DELTA = 1e-3
TRIALS = 2000


def gaussian_epsilon_of(noise: float, delta: float) -> float:
    """Smallest epsilon of the Gaussian mechanism on a grid: Balle and Wang, ICML 2018, theorem 8."""
    for epsilon in np.arange(0, 20, 0.001):
        first = stats.norm.cdf(1 / (2 * noise) - epsilon * noise)
        if first - math.exp(epsilon) * stats.norm.cdf(-1 / (2 * noise) - epsilon * noise) <= delta:
            return float(epsilon)
    raise AssertionError("no epsilon on the grid")


def attack_on_a_noisy_count(noise: float, seed: int) -> tuple[int, int]:
    """Release 1 (in) or 0 (out) plus noise; whatever is above 1 is called a member."""
    draw = np.random.default_rng(seed)
    return int((draw.normal(1, noise, TRIALS) > 1).sum()), int((draw.normal(0, noise, TRIALS) > 1).sum())


def check(noise: float, claimed_noise: float, seed: int) -> None:
    found, false = attack_on_a_noisy_count(noise, seed)
    require_rates(
        "noisy count", true_positives=found, num_members=TRIALS, false_positives=false, num_others=TRIALS,
        epsilon=gaussian_epsilon_of(claimed_noise, DELTA), delta=DELTA,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_the_right_noise_is_never_called_broken_and_a_tenth_of_it_always(seed: int) -> None:
    check(2.0, 2.0, seed)
    with pytest.raises(BrokenGuaranteeError, match="do not release the run"):
        check(0.2, 2.0, seed)


def test_the_error_shows_the_rates_the_claim_and_what_the_rates_take() -> None:
    with pytest.raises(
        BrokenGuaranteeError,
        match=r"mia: 90 of 100 members and 1 of 100 others found.*TPR >= 0\.\d+ at FPR <= 0\.\d+"
        r".*epsilon >= [12]\.\d+; epsilon=1 is claimed at delta=1e-05",
    ):
        require_rates(
            "mia", true_positives=90, num_members=100, false_positives=1, num_others=100, epsilon=1, delta=1e-5
        )
    assert issubclass(BrokenGuaranteeError, FedmetricError)


def test_too_few_trials_prove_nothing() -> None:
    """Three of three against none of three is what a coin does once in 64."""
    require_rates("mia", true_positives=3, num_members=3, false_positives=0, num_others=3, epsilon=0.5, delta=1e-5)


@pytest.mark.parametrize("delta", [0.0, 1e-5, 0.1])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0])
def test_rates_violate_where_one_of_the_two_inequalities_fails(epsilon: float, delta: float) -> None:
    grid = [0.003, 0.0501, 0.2202, 0.5303, 0.8104, 0.9905]
    seen = set()
    for tpr in grid:
        for fpr in grid:
            fails = tpr > math.exp(epsilon) * fpr + delta or 1 - fpr > math.exp(epsilon) * (1 - tpr) + delta
            assert violates(tpr, fpr, epsilon, delta) == (fails and abs(tpr - fpr - delta) > 1e-12), (tpr, fpr)
            seen.add(fails)
    assert seen == {True, False}


def test_a_guess_violates_nothing_and_certainty_everything_finite() -> None:
    assert not violates(0.3, 0.3, 0.0, 0.0)
    assert violates(1.0, 0.0, 1000.0, 1e-5)
    assert not violates(1.0, 0.0, math.inf, 1e-5)
    assert not violates(1.0, 0.0, 0.0, 1.0)


def test_the_epsilon_of_rates_is_the_larger_of_two_logarithms() -> None:
    """TPR 0.5, FPR 0.1, delta 0.1: ln 4 against ln(0.8 / 0.5); mirrored, TPR 0.9 and FPR 0.5 swap the two."""
    assert epsilon_of_rates(0.5, 0.1, 0.1) == pytest.approx(math.log(4))
    assert epsilon_of_rates(0.9, 0.5, 0.1) == pytest.approx(math.log(4))
    assert epsilon_of_rates(0.1, 0.5, 0.0) == 0


def test_randomised_response_is_exactly_on_its_limit() -> None:
    q = 1 / (1 + math.exp(-1.25))
    assert epsilon_of_rates(q, 1 - q, 0.0) == pytest.approx(1.25)


def test_a_rate_in_percent_is_refused() -> None:
    with pytest.raises(ConfigError, match="tpr=90; give a number from 0 to 1"):
        violates(90, 0.1, 1.0, 1e-5)


def test_an_audited_epsilon_above_the_claim_is_an_error_and_one_below_is_not() -> None:
    require_epsilon("one run", 1.0, 1.0)
    with pytest.raises(BrokenGuaranteeError, match="one run: epsilon is 3.2 at least, but 1 is claimed"):
        require_epsilon("one run", 3.2, 1.0)
