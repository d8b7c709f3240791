"""NT-Xent by loops over all pairs, from equation 1 of Chen et al., ICML 2020."""

from __future__ import annotations

import math
from collections.abc import Sequence

from oracles.retrieval import cosine


def nt_xent(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], temperature: float) -> float:
    """Average l(i, j) over both orders of every positive pair; the denominator runs over all k other than i."""
    points, count = [*first, *second], len(first)
    total = 0.0
    for i in range(2 * count):
        j = (i + count) % (2 * count)
        others = [math.exp(cosine(points[i], points[k]) / temperature) for k in range(2 * count) if k != i]
        total -= math.log(math.exp(cosine(points[i], points[j]) / temperature) / sum(others))
    return total / (2 * count)
