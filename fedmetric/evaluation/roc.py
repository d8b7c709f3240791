"""The receiver operating characteristic of pairs, and the figures that are read from it.

A pair is accepted if its similarity is at least the threshold, so pairs of equal similarity are accepted together and
no order of the rows can change a figure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmetric.data.base import Labels

SLACK = 1e-9
"""0.29 x 100 is 28.999999999999996 in floating point, and means 29."""


@dataclass(frozen=True)
class Curve:
    """Pairs accepted at every threshold that changes something, from the strictest, which accepts none.

    Attributes:
        thresholds: (T,) float64, descending; the first is infinite, the others are the similarities that occur.
        true: (T,) int64 genuine pairs accepted; the last is their number.
        false: (T,) int64 impostor pairs accepted; the last is their number.
    """

    thresholds: NDArray[np.float64]
    true: Labels
    false: Labels

    @property
    def num_genuine(self) -> int:
        """Genuine pairs."""
        return int(self.true[-1])

    @property
    def num_impostor(self) -> int:
        """Impostor pairs."""
        return int(self.false[-1])


def roc(similarities: NDArray[np.float64], genuine: NDArray[np.bool_]) -> Curve:
    """Count the accepted pairs at every threshold.

    Args:
        similarities: (P,) float64, larger is nearer.
        genuine: (P,) bool.
    """
    order = np.argsort(-similarities, kind="stable")
    return roc_of_sorted(similarities[order], genuine[order])


def roc_of_sorted(similarities: NDArray[np.float64], genuine: NDArray[np.bool_]) -> Curve:
    """Do the same for pairs in descending order of similarity."""
    last = np.ones(len(similarities), bool)
    last[:-1] = similarities[:-1] > similarities[1:]
    true, false = (np.concatenate([[0], np.cumsum(kind)[last]]).astype(np.int64) for kind in (genuine, ~genuine))
    return Curve(np.concatenate([[np.inf], similarities[last]]), true, false)


def area_under(curve: Curve) -> float | None:
    """Return the chance that a genuine pair is nearer than an impostor pair, ties counted half; None without either."""
    if not curve.num_genuine or not curve.num_impostor:
        return None
    heights = (curve.true[1:] + curve.true[:-1]).astype(np.float64) / (2 * curve.num_genuine)
    return float((heights * np.diff(curve.false)).sum() / curve.num_impostor)


def equal_error_rate(curve: Curve) -> float | None:
    """Return the error where as large a share of impostors is accepted as of genuine pairs rejected.

    The curve is interpolated linearly: 0 for a perfect encoder, 0.5 when all similarities are equal. None without
    genuine or without impostor pairs.
    """
    if not curve.num_genuine or not curve.num_impostor:
        return None
    accepted, rejected = curve.false / curve.num_impostor, 1 - curve.true / curve.num_genuine
    excess = accepted - rejected  # from -1 to 1, and higher at every threshold
    after = int(np.argmax(excess >= 0))
    before = after - 1
    share = -excess[before] / (excess[after] - excess[before])
    return float(accepted[before] + share * (accepted[after] - accepted[before]))


def true_accept_rate(curve: Curve, false_accept_rate: float) -> float | None:
    """Return the largest share of genuine pairs that is accepted while no more impostors are than allowed.

    Nothing is interpolated: TAR at FAR = f is read at the last threshold whose share of impostors is at most f.

    Args:
        curve: of `roc`.
        false_accept_rate: f, above 0.

    Returns:
        None without genuine pairs, or where f is below one impostor pair (f < 1 / impostors, or none at all): the
        figure would hang on the one nearest impostor.
    """
    allowed = math.floor(false_accept_rate * curve.num_impostor + SLACK)
    if not curve.num_genuine or allowed < 1:
        return None
    last = int(np.searchsorted(curve.false, allowed, side="right")) - 1
    return float(curve.true[last] / curve.num_genuine)


def best_threshold(curve: Curve) -> float | None:
    """Return the threshold that decides most pairs rightly, genuine and impostor pairs weighing half each.

    It lies half-way between the two similarities that it separates, and is infinite where accepting none (or all, with
    a minus) is best; among equally good ones the strictest is taken. None without genuine or without impostor pairs.
    """
    if not curve.num_genuine or not curve.num_impostor:
        return None
    best = int(np.argmax(curve.true * curve.num_impostor - curve.false * curve.num_genuine))  # integers: exact
    if best == 0:
        return math.inf
    if best == len(curve.thresholds) - 1:
        return -math.inf
    return float((curve.thresholds[best] + curve.thresholds[best + 1]) / 2)
