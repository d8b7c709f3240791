"""How sure an attack's figures are: exact intervals of rates, and the AUC and TPR of members against others.

* C. J. Clopper, E. S. Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial",
  Biometrika 26(4), 1934: the interval of a rate.
* E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, "Comparing the Areas under Two or More Correlated Receiver Operating
  Characteristic Curves: A Nonparametric Approach", Biometrics 44(3), 1988: the variance of an AUC.
* N. Carlini, S. Chien, M. Nasr, S. Song, A. Terzis, F. Tramer, "Membership Inference Attacks From First Principles",
  IEEE S&P 2022: why the TPR at a low FPR is reported beside the AUC.

Difference: the DeLong interval is taken on the logit of the AUC, so that it stays inside (0, 1) where the attack is
nearly perfect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fedmetric.errors import ConfigError, DataError

CONFIDENCE = 0.95
FPR = 0.01
SLACK = 1e-9
"""0.29 x 100 is 28.999999999999996 in floating point, and means 29."""


class Interval(NamedTuple):
    """A confidence interval, both ends included."""

    low: float
    high: float


@dataclass(frozen=True)
class Attack:
    """How well scores tell members from others; every interval is two-sided, of 95 % unless asked otherwise.

    Attributes:
        name: of the attack.
        n_members: images that were trained on.
        n_others: images that were not.
        auc: chance that a member scores above another image, ties counted half; 0.5 for a coin.
        auc_low: lower end of its interval.
        auc_high: upper end.
        fpr: f, the share of others that may be taken for members.
        tpr: largest share of members found at f; None with fewer than 1 / f others, like its interval.
        tpr_low: lower end of its interval, the threshold held fixed.
        tpr_high: upper end.
        ceiling: the `tpr_low` that a perfect attack would get on as many members: no audit of this size can show more.
    """

    name: str
    n_members: int
    n_others: int
    auc: float
    auc_low: float
    auc_high: float
    fpr: float
    tpr: float | None
    tpr_low: float | None
    tpr_high: float | None
    ceiling: float

    @classmethod
    def of(
        cls,
        name: str,
        members: NDArray[np.float64],
        others: NDArray[np.float64],
        *,
        fpr: float = FPR,
        confidence: float = CONFIDENCE,
    ) -> Attack:
        """Measure an attack by its scores.

        Args:
            name: of the attack.
            members: (M,) float, M >= 2; higher means "was trained on".
            others: (N,) float, N >= 2.
            fpr: false positive rate at which the TPR is read, above 0 and below 1.
            confidence: of each interval.

        Raises:
            DataError: fewer than two scores of a kind, or one that is not finite.
            ConfigError: a rate or a confidence that is not between 0 and 1.
        """
        area, (low, high) = auc_interval(members, others, confidence)
        found = true_positives(members, others, fpr)
        rate = None if found is None else clopper_pearson(found, len(members), confidence)
        return cls(
            name=name,
            n_members=len(members),
            n_others=len(others),
            auc=area,
            auc_low=low,
            auc_high=high,
            fpr=fpr,
            tpr=None if found is None else found / len(members),
            tpr_low=None if rate is None else rate.low,
            tpr_high=None if rate is None else rate.high,
            ceiling=clopper_pearson(len(members), len(members), confidence).low,
        )


def clopper_pearson(hits: int, num: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the exact interval of a rate: each end is missed with probability (1 - confidence) / 2 at most.

    Args:
        hits: how often it happened, 0 to `num`.
        num: independent trials; the interval is [0, 1] without any.
        confidence: of both ends together.

    Raises:
        ConfigError: hits outside 0 to num, or a confidence that is not between 0 and 1.
    """
    if not 0 <= hits <= num:
        raise ConfigError(f"{hits} hits of {num} trials; give 0 to {num}")
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence={confidence:g}; give a number between 0 and 1, such as 0.95")
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, hits, num - hits + 1)) if hits else 0.0
    high = float(stats.beta.isf(tail, hits + 1, num - hits)) if hits < num else 1.0
    return Interval(low, high)


def auc_interval(
    members: NDArray[np.float64], others: NDArray[np.float64], confidence: float = CONFIDENCE
) -> tuple[float, Interval]:
    """Return the AUC and its DeLong interval on the logit scale.

    Where DeLong's variance is 0, because the attack is always right, always wrong or always tied, the interval is that
    of a rate over min(M, N) couples without a common image, which errs on the wide side.

    Args:
        members: (M,) float, M >= 2.
        others: (N,) float, N >= 2.
        confidence: of the interval.

    Raises:
        DataError: fewer than two scores of a kind, or one that is not finite.
        ConfigError: a confidence that is not between 0 and 1.
    """
    _check(members, others)
    members, others = np.sort(members), np.sort(others)  # the order of the images must not show in the last bit
    placed = _placements(members, others)  # (M,) share of the others below each member
    area = float(placed.mean())
    variance = placed.var(ddof=1) / len(members) + _placements(others, members).var(ddof=1) / len(others)
    couples = min(len(members), len(others))
    low = clopper_pearson(math.floor(area * couples), couples, confidence).low  # also checks the confidence
    high = clopper_pearson(math.ceil(area * couples), couples, confidence).high
    if variance == 0 or not 0 < area < 1:
        return area, Interval(low, high)
    logit, half = math.log(area / (1 - area)), stats.norm.isf((1 - confidence) / 2) * math.sqrt(variance)
    half /= area * (1 - area)
    return area, Interval(1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit)))


def true_positives(members: NDArray[np.float64], others: NDArray[np.float64], fpr: float = FPR) -> int | None:
    """Count the members above the lowest threshold that lets at most a share `fpr` of the others pass.

    Scores that are equal pass together or not at all, and nothing is interpolated. None where `fpr` is below one
    image: the count would hang on the one highest of the others.

    Args:
        members: (M,) float.
        others: (N,) float.
        fpr: above 0 and below 1.

    Raises:
        DataError: fewer than two scores of a kind, or one that is not finite.
        ConfigError: a rate that is not between 0 and 1.
    """
    _check(members, others)
    if not 0 < fpr < 1:
        raise ConfigError(f"a false positive rate of {fpr:g}; give a number between 0 and 1, such as 0.01")
    allowed = math.floor(fpr * len(others) + SLACK)
    if allowed < 1:
        return None
    threshold = np.sort(others)[::-1][allowed]  # itself not passed
    return int((members > threshold).sum())


def _placements(scores: NDArray[np.float64], against: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return for each score the share of `against` below it, ties counted half."""
    ordered = np.sort(against)
    below, up_to = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
    return np.asarray((below + up_to) / (2 * len(ordered)), np.float64)


def _check(members: NDArray[np.float64], others: NDArray[np.float64]) -> None:
    if len(members) < 2 or len(others) < 2:
        raise DataError(f"scores of {len(members)} members and {len(others)} others; an attack needs two of each")
    if not (np.isfinite(members).all() and np.isfinite(others).all()):
        raise DataError("a membership score is not finite; check the encoder's embeddings")
