"""Losses on correlations between dimensions, one entry of a matrix at a time, each from the equation of its paper."""

from __future__ import annotations

import math
from collections.abc import Sequence

from oracles.retrieval import cosine

Points = Sequence[Sequence[float]]


def centred(points: Points) -> list[list[float]]:
    """Return the columns of the points, each minus its mean."""
    columns = [list(column) for column in zip(*points, strict=True)]
    return [[x - sum(column) / len(column) for x in column] for column in columns]


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))


def unit(point: Sequence[float]) -> list[float]:
    return [x / math.sqrt(dot(point, point)) for x in point]


def barlow_twins(first: Points, second: Points, redundancy: float) -> float:
    """Equation 1 of Zbontar et al., ICML 2021, on the cross-correlation of its equation 2."""
    a, b = centred(first), centred(second)
    total = 0.0
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            correlation = dot(left, right) / math.sqrt(dot(left, left) * dot(right, right))
            total += (1 - correlation) ** 2 if i == j else redundancy * correlation**2
    return total


def vicreg(first: Points, second: Points, invariance: float, variance: float, covariance: float) -> float:
    """Equation 6 of Bardes et al., ICLR 2022, with the two differences that fedmetric's file names."""
    count, dims = len(first), len(first[0])
    total = invariance * sum(
        (x - y) ** 2 for p, q in zip(first, second, strict=True) for x, y in zip(p, q, strict=True)
    )
    total /= count * dims
    for points in (first, second):
        columns = centred(points)
        cov = [[dot(a, b) / (count - 1) for b in columns] for a in columns]
        hinges = [max(0.0, 1 - math.sqrt(cov[i][i] + 1e-4)) for i in range(dims)]
        total += variance * sum(hinges) / dims / 2
        total += covariance * sum(cov[i][j] ** 2 for i in range(dims) for j in range(dims) if i != j) / dims
    return total


def tico(online: Points, target: Points, past: Points, beta: float, rho: float) -> tuple[float, list[list[float]]]:
    """Return the loss of Zhu et al., 2022, and the covariance that the next step starts from."""
    z, dims = [unit(point) for point in online], range(len(online[0]))
    batch = [[sum(p[i] * p[j] for p in z) / len(z) for j in dims] for i in dims]
    running = [[beta * past[i][j] + (1 - beta) * batch[i][j] for j in dims] for i in dims]
    pull = 1 - sum(cosine(p, q) for p, q in zip(online, target, strict=True)) / len(z)
    push = sum(p[i] * running[i][j] * p[j] for p in z for i in dims for j in dims) / len(z)
    return pull + rho * push, running


def off_diagonal(points: Points) -> float:
    """Average the squared correlations of different dimensions, times N: equation 6 of Shi et al., ICLR 2023."""
    columns = [unit(column) for column in centred(points)]
    pairs = [(i, j) for i in range(len(columns)) for j in range(len(columns)) if i != j]
    return len(points) * sum(dot(columns[i], columns[j]) ** 2 for i, j in pairs) / len(pairs)
