"""Losses on soft assignments to prototypes, by loops, each from the equations of its paper."""

from __future__ import annotations

import math
from collections.abc import Sequence

Scores = Sequence[Sequence[float]]


def softmax(scores: Sequence[float], temperature: float) -> list[float]:
    shares = [math.exp((score - max(scores)) / temperature) for score in scores]
    return [share / sum(shares) for share in shares]


def cross_entropy(wanted: Sequence[float], found: Sequence[float]) -> float:
    return -math.fsum(p * math.log(q) for p, q in zip(wanted, found, strict=True))


def balanced(scores: Scores, epsilon: float, iterations: int) -> list[list[float]]:
    """Return Sinkhorn's codes (Caron et al., NeurIPS 2020, equation 5): rows of B images, each adding up to 1."""
    codes = [[math.exp(score / epsilon) for score in row] for row in scores]
    for _ in range(iterations):
        for k in range(len(codes[0])):
            mass = sum(row[k] for row in codes)
            for row in codes:
                row[k] /= mass
        codes = [[code / sum(row) for code in row] for row in codes]
    return codes


def swapped(first: Scores, second: Scores, temperature: float, epsilon: float, iterations: int) -> float:
    """Average equation 1 of the same paper over images and both directions."""
    total = 0.0
    for coded, predicted in ((first, second), (second, first)):
        for code, scores in zip(balanced(coded, epsilon, iterations), predicted, strict=True):
            total += cross_entropy(code, softmax(scores, temperature))
    return total / (2 * len(first))


def distilled(
    teacher: Sequence[Scores], student: Sequence[Scores], centre: Sequence[float], sharp: float, soft: float
) -> float:
    """Average equation 3 of Caron et al., ICCV 2021, over images and the two pairs of different views."""
    total = 0.0
    for taught, learnt in ((0, 1), (1, 0)):
        for logits, scores in zip(teacher[taught], student[learnt], strict=True):
            shifted = [x - c for x, c in zip(logits, centre, strict=True)]
            total += cross_entropy(softmax(shifted, sharp), softmax(scores, soft))
    return total / (2 * len(teacher[0]))
