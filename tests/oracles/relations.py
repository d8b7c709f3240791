"""The divergence between two sets of relations, one image at a time, from section 3 of Han et al., ECCV 2022."""

from __future__ import annotations

import math
from collections.abc import Sequence

from oracles.retrieval import cosine

Points = Sequence[Sequence[float]]


def shares(points: Points, image: int, temperature: float) -> list[float]:
    """Return the softmax of an image's similarities to all others."""
    others = [k for k in range(len(points)) if k != image]
    masses = [math.exp(cosine(points[image], points[k]) / temperature) for k in others]
    return [mass / sum(masses) for mass in masses]


def kullback_leibler(p: Sequence[float], q: Sequence[float]) -> float:
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def divergence(first: Points, second: Points, temperature: float) -> float:
    """Average the Jensen-Shannon divergence over all images."""
    total = 0.0
    for image in range(len(first)):
        p, q = shares(first, image, temperature), shares(second, image, temperature)
        middle = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
        total += (kullback_leibler(p, middle) + kullback_leibler(q, middle)) / 2
    return total / len(first)
