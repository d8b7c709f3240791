from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fedmetric.errors import ConfigError, DataError
from fedmetric.privacy.audit.intervals import Attack, auc_interval, clopper_pearson, true_positives


def auc_of_loops(members: np.ndarray, others: np.ndarray) -> float:
    won = sum((m > o) + 0.5 * (m == o) for m in members for o in others)
    return float(won) / (len(members) * len(others))


def tpr_of_loops(members: np.ndarray, others: np.ndarray, fpr: float) -> float:
    """Try every threshold that could matter, and the one that accepts all."""
    thresholds = [-math.inf, *members, *others]
    passed = [(np.mean(others > t), np.mean(members > t)) for t in thresholds]
    return float(max(true for false, true in passed if false <= fpr + 1e-12))


def delong_of_loops(members: np.ndarray, others: np.ndarray) -> float:
    """Variance of the AUC from the 1988 paper's structural components, couple by couple."""
    kernel = np.array([[float(m > o) + 0.5 * (m == o) for o in others] for m in members])
    return float(kernel.mean(1).var(ddof=1) / len(members) + kernel.mean(0).var(ddof=1) / len(others))


def test_the_exact_interval_is_where_the_binomial_tails_are_a_fortieth() -> None:
    low, high = clopper_pearson(7, 20)
    assert stats.binom.sf(6, 20, low) == pytest.approx(0.025)
    assert stats.binom.cdf(7, 20, high) == pytest.approx(0.025)


def test_the_interval_at_the_ends_is_known_in_closed_form() -> None:
    """p^20 = 0.025 at the lower end of 20 of 20, and (1 - p)^20 = 0.025 at the upper end of 0 of 20."""
    assert clopper_pearson(20, 20) == (pytest.approx(0.025 ** (1 / 20)), 1)
    assert clopper_pearson(0, 20) == (0, pytest.approx(1 - 0.025 ** (1 / 20)))
    assert clopper_pearson(0, 0) == (0, 1)


@pytest.mark.parametrize("rate", [0.01, 0.3, 0.5])
def test_the_interval_covers_the_true_rate_as_often_as_it_says(rate: float) -> None:
    """Summed over all 51 outcomes, not sampled."""
    covered = [k for k in range(51) if clopper_pearson(k, 50).low <= rate <= clopper_pearson(k, 50).high]
    assert 0.95 <= stats.binom.pmf(covered, 50, rate).sum() < 1


@pytest.mark.parametrize(("hits", "num"), [(-1, 5), (6, 5)])
def test_impossible_counts_are_refused(hits: int, num: int) -> None:
    with pytest.raises(ConfigError, match=f"{hits} hits of {num} trials"):
        clopper_pearson(hits, num)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_in_percent_is_refused(confidence: float) -> None:
    with pytest.raises(ConfigError, match="between 0 and 1"):
        clopper_pearson(1, 5, confidence)


@pytest.mark.parametrize("levels", [2, 5, 10**6])
@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_all_couples_and_all_thresholds(seed: int, levels: int) -> None:
    """Two levels tie nearly everything; a million tie nothing."""
    draw = np.random.default_rng(seed)
    members, others = draw.integers(0, levels, 40) / levels, draw.integers(0, levels, 110) / levels
    area, (low, high) = auc_interval(members, others)
    assert area == pytest.approx(auc_of_loops(members, others), abs=1e-12)
    half = 1.959964 * math.sqrt(delong_of_loops(members, others)) / (area * (1 - area))
    assert math.log(low / (1 - low)) == pytest.approx(math.log(area / (1 - area)) - half, abs=1e-5)
    assert math.log(high / (1 - high)) == pytest.approx(math.log(area / (1 - area)) + half, abs=1e-5)
    for fpr in (0.01, 0.05, 0.29, 0.5):
        found = true_positives(members, others, fpr)
        assert found is not None
        assert found / 40 == pytest.approx(tpr_of_loops(members, others, fpr), abs=1e-12)


def test_swapping_members_and_others_mirrors_the_area_and_its_interval() -> None:
    draw = np.random.default_rng(0)
    members, others = draw.normal(0.5, 1, 30), draw.normal(0, 1, 50)
    area, (low, high) = auc_interval(members, others)
    mirrored, (low_of_mirrored, high_of_mirrored) = auc_interval(others, members)
    assert (mirrored, low_of_mirrored, high_of_mirrored) == pytest.approx((1 - area, 1 - high, 1 - low))


def test_the_interval_of_the_area_covers_the_truth_about_19_times_in_20() -> None:
    """Members N(1, 1), others N(0, 1): the true AUC is Phi(1 / sqrt 2) = 0.760."""
    draw = np.random.default_rng(1)
    truth, covered = stats.norm.cdf(1 / math.sqrt(2)), 0
    for _ in range(400):
        _, (low, high) = auc_interval(draw.normal(1, 1, 40), draw.normal(0, 1, 60))
        covered += low <= truth <= high
    assert 0.91 <= covered / 400 <= 0.99


def test_a_perfect_attack_on_few_images_is_not_certain() -> None:
    """Every couple is right, so DeLong's variance is 0; ten couples without a common image say 10 of 10."""
    area, interval = auc_interval(np.arange(10) + 100.0, np.arange(30.0))
    assert area == 1
    assert interval == (pytest.approx(0.025 ** (1 / 10)), 1)


def test_a_constant_score_is_a_coin_with_an_interval() -> None:
    attack = Attack.of("constant", np.zeros(50), np.zeros(200))
    assert attack.auc == 0.5
    assert attack.auc_low < 0.4 < 0.6 < attack.auc_high
    assert (attack.tpr, attack.tpr_low) == (0, 0)


def test_an_attack_as_derived_by_hand() -> None:
    """Others 1..100, one of which may pass at 1 %: the threshold is 99. Members 99, 100, 101, 50: two pass.

    Couples won: 98.5 + 99.5 + 100 + 49.5 = 347.5 of 400.
    """
    members, others = np.array([99.0, 100, 101, 50]), np.arange(1.0, 101)
    attack = Attack.of("hand", members, others)
    assert (attack.n_members, attack.n_others, attack.fpr) == (4, 100, 0.01)
    assert attack.auc == pytest.approx(347.5 / 400)
    assert attack.tpr == 2 / 4
    assert (attack.tpr_low, attack.tpr_high) == clopper_pearson(2, 4)
    assert attack.ceiling == pytest.approx(0.025 ** (1 / 4))


def test_a_rate_below_one_image_has_no_figure() -> None:
    attack = Attack.of("few", np.ones(10), np.zeros(99))
    assert attack.tpr is attack.tpr_low is attack.tpr_high is None
    assert Attack.of("enough", np.ones(10), np.zeros(100)).tpr == 1


def test_a_rate_is_the_number_it_is_written_as() -> None:
    """0.29 x 100 is below 29 in floating point; the 29th of the others is the only one above the members."""
    assert true_positives(np.full(5, 0.5), np.array([1.0] * 29 + [0.0] * 71), 0.29) == 5


def test_the_order_of_the_images_does_not_matter() -> None:
    draw = np.random.default_rng(3)
    members, others = draw.integers(0, 6, 40) / 6, draw.integers(0, 5, 120) / 6
    assert Attack.of("a", members, others) == Attack.of("a", draw.permutation(members), draw.permutation(others))


def test_scores_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(DataError, match="1 members and 5 others"):
        Attack.of("a", np.zeros(1), np.zeros(5))
    with pytest.raises(DataError, match="not finite"):
        Attack.of("a", np.array([0, np.nan]), np.zeros(5))
    with pytest.raises(ConfigError, match="false positive rate of 0"):
        Attack.of("a", np.zeros(5), np.zeros(5), fpr=0)
