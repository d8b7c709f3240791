"""Verification over explicit lists of pairs, every threshold tried, from the definitions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

from oracles.retrieval import cosine

Pair = tuple[float, bool]
"""A similarity, rounded so that equal points are equally near, and whether the pair is genuine."""


def all_pairs(embeddings: list[list[float]], labels: list[int], near=cosine) -> list[tuple[int, int, float, bool]]:
    """Return (i, j, similarity to 10 digits, genuine) for all i < j."""
    return [
        (i, j, round(near(embeddings[i], embeddings[j]), 10), labels[i] == labels[j])
        for i, j in itertools.combinations(range(len(labels)), 2)
    ]


def kinds(pairs: Sequence[Pair]) -> tuple[list[float], list[float]]:
    return [s for s, genuine in pairs if genuine], [s for s, genuine in pairs if not genuine]


def auc(pairs: Sequence[Pair]) -> float:
    """Return the share of (genuine, impostor) couples in the right order, equal ones counted half."""
    genuine, impostor = kinds(pairs)
    wins = sum((g > i) + 0.5 * (g == i) for g in genuine for i in impostor)
    return wins / (len(genuine) * len(impostor))


def rates(pairs: Sequence[Pair], threshold: float) -> tuple[Fraction, Fraction]:
    """Return the shares of impostor and of genuine pairs accepted."""
    genuine, impostor = kinds(pairs)
    accepted = sum(i >= threshold for i in impostor), sum(g >= threshold for g in genuine)
    return Fraction(accepted[0], len(impostor)), Fraction(accepted[1], len(genuine))


def curve(pairs: Sequence[Pair]) -> list[tuple[Fraction, Fraction]]:
    thresholds = [float("inf"), *sorted({s for s, _ in pairs}, reverse=True)]
    return [rates(pairs, threshold) for threshold in thresholds]


def eer(pairs: Sequence[Pair]) -> float:
    """Walk along the curve to where false accepts meet false rejects, on the straight line between two points."""
    points = curve(pairs)
    for (far, tar), (next_far, next_tar) in itertools.pairwise(points):
        if next_far >= 1 - next_tar:
            # far + t (next_far - far) = 1 - tar - t (next_tar - tar)
            t = (1 - tar - far) / (next_far - far + next_tar - tar)
            return float(far + t * (next_far - far))
    raise AssertionError("the last point accepts everything")


def tar(pairs: Sequence[Pair], limit: float) -> float | None:
    """Return the largest share of genuine pairs at any threshold whose share of impostors is within the limit."""
    exact = Fraction(str(limit))
    if exact * len(kinds(pairs)[1]) < 1:
        return None
    return float(max(t for f, t in curve(pairs) if f <= exact))


def accuracy(pairs: Sequence[Pair], threshold: float) -> Fraction:
    false, true = rates(pairs, threshold)
    return (true + 1 - false) / 2


def strictest_best_threshold(pairs: Sequence[Pair]) -> float:
    """Try the middle between any two neighbouring similarities, and beyond both ends, from above."""
    values = sorted({s for s, _ in pairs}, reverse=True)
    middles = [(a + b) / 2 for a, b in itertools.pairwise(values)]
    return max([float("inf"), *middles, float("-inf")], key=lambda threshold: accuracy(pairs, threshold))


def fold_accuracies(pairs: list[tuple[int, int, float, bool]], folds: list[int]) -> list[float]:
    found = []
    for fold in range(max(folds, default=-1) + 1):
        own = [(s, g) for i, j, s, g in pairs if folds[i] == folds[j] == fold]
        others = [(s, g) for i, j, s, g in pairs if fold not in (folds[i], folds[j])]
        if all(all(kinds(part)) for part in (own, others)):
            found.append(float(accuracy(own, strictest_best_threshold(others))))
    return found
