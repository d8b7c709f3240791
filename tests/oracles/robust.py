"""Robust aggregation as its papers write it: loops over clients and coordinates, with Python's floats."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from fractions import Fraction

Vector = Sequence[float]


def clipped(vector: Vector, start: Vector, bound: float) -> list[float]:
    """Sun et al. 2019: w + d / max(1, |d| / M)."""
    moves = [value - first for value, first in zip(vector, start, strict=True)]
    norm = math.sqrt(math.fsum(move * move for move in moves))
    return [first + move / max(1.0, norm / bound) for first, move in zip(start, moves, strict=True)]


def trimmed_mean(vectors: Sequence[Vector], trim: str) -> list[float]:
    """Yin et al. 2018, definition 2, with a share written as a decimal number so that nothing is rounded."""
    drop = math.floor(Fraction(trim) * len(vectors))
    found = []
    for values in zip(*vectors, strict=True):
        left = list(values)
        for _ in range(drop):
            left.remove(min(left))
            left.remove(max(left))
        found.append(math.fsum(left) / len(left))
    return found


def median(vectors: Sequence[Vector]) -> list[float]:
    """Yin et al. 2018, definition 1."""
    return [statistics.median(values) for values in zip(*vectors, strict=True)]


def krum_score(place: int, vectors: Sequence[Vector], malicious: int) -> float:
    """Blanchard et al. 2017, section 4: the sum over the n - f - 2 closest of |V_i - V_j|^2, j other than i."""
    squares = sorted(
        math.fsum((one - two) ** 2 for one, two in zip(vectors[place], other, strict=True))
        for j, other in enumerate(vectors)
        if j != place
    )
    return math.fsum(squares[: max(1, len(vectors) - malicious - 2)])


def krum_order(vectors: Sequence[Vector], malicious: int) -> list[int]:
    """The places of all vectors by score; ties by the sum of all distances, which the paper leaves open."""

    def key(place: int) -> tuple[float, float, int]:
        everybody = krum_score(place, vectors, malicious=-len(vectors))
        return krum_score(place, vectors, malicious), everybody, place

    return sorted(range(len(vectors)), key=key)


def krum(vectors: Sequence[Vector], malicious: int, selected: int = 1) -> list[float]:
    """Blanchard et al. 2017, section 4: the mean of the m vectors of the smallest scores."""
    best = [vectors[place] for place in krum_order(vectors, malicious)[:selected]]
    return [math.fsum(values) / selected for values in zip(*best, strict=True)]


def bulyan_selection(vectors: Sequence[Vector], malicious: int) -> list[Vector]:
    """El Mhamdi et al. 2018, first step: theta = n - 2f vectors, each Krum's choice among those that are left."""
    left, found = list(vectors), []
    while len(found) < len(vectors) - 2 * malicious:
        found.append(left.pop(krum_order(left, malicious)[0]))
    return found


def bulyan(vectors: Sequence[Vector], malicious: int) -> list[float]:
    """El Mhamdi et al. 2018, second step: of all sets of beta = theta - 2f values of a coordinate, the mean of the one
    whose distances to the median add up to the least."""
    selected = bulyan_selection(vectors, malicious)
    beta = len(selected) - 2 * malicious
    found = []
    for values in zip(*selected, strict=True):
        middle = statistics.median(values)
        best = min(itertools.combinations(values, beta), key=lambda some: math.fsum(abs(x - middle) for x in some))
        found.append(math.fsum(best) / beta)
    return found
