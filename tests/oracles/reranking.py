"""Re-ranking one query and one image at a time, from the equations of the papers."""

from __future__ import annotations

import math

from oracles.retrieval import cosine

Points = list[list[float]]


def unit(point: list[float]) -> list[float]:
    length = math.sqrt(math.fsum(x * x for x in point))
    return [x / length for x in point]


def others(query: int, points: Points, near) -> list[int]:
    """Return all other images, nearest first, equals (to 10 digits) in their order."""
    rest = [i for i in range(len(points)) if i != query]
    return sorted(rest, key=lambda i: -round(near(points[query], points[i]), 10))


def expanded(query: int, points: Points, near, num: int, alpha: float) -> list[float]:
    """Return the weighted mean of a query and its nearest, for points without ties."""
    rows = [unit(p) for p in points] if near is cosine else points
    nearest = others(query, points, near)[:num]
    weights = [max(0.0, cosine(points[query], points[i])) ** alpha for i in nearest]
    total = 1 + sum(weights)
    return [
        (rows[query][d] + sum(w * rows[i][d] for w, i in zip(weights, nearest, strict=True))) / total
        for d in range(len(rows[query]))
    ]


def half_squared(points: Points, near) -> list[list[float]]:
    """Return half the squared distances in the space that `near` compares in, its longest vector of length 1."""
    if near is cosine:
        return [[1 - cosine(p, q) for q in points] for p in points]
    longest = max(math.dist(p, [0.0] * len(p)) for p in points)
    return [[(math.dist(p, q) / longest) ** 2 / 2 for q in points] for p in points]


def k_reciprocal_distances(points: Points, near, k1: int, k2: int, weight: float) -> list[list[float]]:
    """Return d* between all images: sets as Python sets, encodings as whole rows."""
    count = len(points)
    d = half_squared(points, near)
    ranked = [[p, *others(p, points, near)] for p in range(count)]

    def reciprocal(p: int, k: int) -> set[int]:
        return {g for g in ranked[p][: k + 1] if p in ranked[g][: k + 1]}

    encodings = []
    for p in range(count):
        own = reciprocal(p, k1)
        grown = set(own)
        for q in own:
            half = reciprocal(q, math.ceil(k1 / 2))
            if len(own & half) >= 2 / 3 * len(half) - 1e-9:
                grown |= half
        encodings.append([math.exp(-d[p][g]) if g in grown else 0.0 for g in range(count)])
    mean = [[sum(encodings[q][g] for q in ranked[p][:k2]) / k2 for g in range(count)] for p in range(count)]

    def jaccard(p: int, g: int) -> float:
        small = sum(min(a, b) for a, b in zip(mean[p], mean[g], strict=True))
        return 1 - small / sum(max(a, b) for a, b in zip(mean[p], mean[g], strict=True))

    return [[(1 - weight) * jaccard(p, g) + weight * d[p][g] for g in range(count)] for p in range(count)]


def relevance_by(nearness: list[float], query: int, labels: list[int]) -> list[bool]:
    """Sort a query's gallery by nearness (to 10 digits), equals of other classes first."""
    rest = [i for i in range(len(labels)) if i != query]
    return [same for _, same in sorted((-round(nearness[i], 10), labels[i] == labels[query]) for i in rest)]
