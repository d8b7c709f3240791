"""Contrastive losses by loops over all pairs, each from the equation of its paper."""

from __future__ import annotations

import math
from collections.abc import Sequence

from oracles.retrieval import cosine

Points = Sequence[Sequence[float]]


def momentum_contrast(queries: Points, keys: Points, queue: Points, temperature: float) -> float:
    """Average equation 1 of He et al., CVPR 2020: query i against its key and the whole queue."""
    total = 0.0
    for query, key in zip(queries, keys, strict=True):
        positive = math.exp(cosine(query, key) / temperature)
        negatives = sum(math.exp(cosine(query, past) / temperature) for past in queue)
        total -= math.log(positive / (positive + negatives))
    return total / len(queries)


def nearest(point: Sequence[float], queue: Points) -> Sequence[float]:
    return max(queue, key=lambda past: cosine(point, past))


def neighbour_contrast(
    first: Points, second: Points, one: Points, two: Points, queue: Points, temperature: float
) -> float:
    """Average equation 3 of Dwibedi et al., ICCV 2021, over images and both directions."""
    total = 0.0
    for projections, predictions in ((first, two), (second, one)):
        for i, projection in enumerate(projections):
            neighbour = nearest(projection, queue)
            shares = [math.exp(cosine(neighbour, other) / temperature) for other in predictions]
            total -= math.log(shares[i] / sum(shares))
    return total / (2 * len(first))


def decoupled(first: Points, second: Points, temperature: float) -> float:
    """Average equation 6 of Yeh et al., ECCV 2022: the denominator holds all views of all other images."""
    points, count = [*first, *second], len(first)
    total = 0.0
    for i in range(2 * count):
        j = (i + count) % (2 * count)
        others = [math.exp(cosine(points[i], points[k]) / temperature) for k in range(2 * count) if k not in (i, j)]
        total -= math.log(math.exp(cosine(points[i], points[j]) / temperature) / sum(others))
    return total / (2 * count)


def supervised(points: Points, labels: Sequence[int], temperature: float) -> float:
    """Average equation 2 of Khosla et al., NeurIPS 2020, over all anchors."""
    total = 0.0
    for i, anchor in enumerate(points):
        others = [k for k in range(len(points)) if k != i]
        everything = sum(math.exp(cosine(anchor, points[k]) / temperature) for k in others)
        positives = [k for k in others if labels[k] == labels[i]]
        terms = [math.log(math.exp(cosine(anchor, points[k]) / temperature) / everything) for k in positives]
        total -= sum(terms) / len(terms)
    return total / len(points)
