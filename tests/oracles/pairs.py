"""Distances, miners and losses on pairs by loops over the images of a batch, each from the equation of its paper."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from oracles.retrieval import cosine

Point = Sequence[float]
Points = Sequence[Point]
Labels = Sequence[int]
Distance = Callable[[Point, Point], float]
Triplets = set[tuple[int, int, int]]
Pairs = set[tuple[int, int]]


def unit(point: Point) -> list[float]:
    length = math.sqrt(math.fsum(x * x for x in point))
    return [x / length for x in point]


def cosine_distance(a: Point, b: Point) -> float:
    return 1 - cosine(a, b)


def euclidean_distance(a: Point, b: Point) -> float:
    return math.dist(unit(a), unit(b))


def mahalanobis_distance(a: Point, b: Point, rows: Sequence[Point]) -> float:
    """Take the quadratic form of Weinberger and Saul, JMLR 2009, of unit vectors, with M = L'L written out."""
    apart = [x - y for x, y in zip(unit(a), unit(b), strict=True)]
    dims = range(len(apart))
    total = sum(apart[i] * sum(row[i] * row[j] for row in rows) * apart[j] for i in dims for j in dims)
    return math.sqrt(max(0.0, total))


def scaled_distance(a: Point, b: Point, hidden: Points, hidden_bias: Point, factor: Point, factor_bias: float) -> float:
    """Take |x - y| softplus(w relu(W (|x - y|, x y) + c) + b) of unit vectors, one neuron at a time."""
    x, y = unit(a), unit(b)
    seen = [abs(p - q) for p, q in zip(x, y, strict=True)] + [p * q for p, q in zip(x, y, strict=True)]
    answer = factor_bias
    for row, bias, weight in zip(hidden, hidden_bias, factor, strict=True):
        answer += weight * max(0.0, bias + sum(w * s for w, s in zip(row, seen, strict=True)))
    return math.dist(x, y) * math.log1p(math.exp(answer))


def mean(values: Iterable[float]) -> float:
    kept = list(values)
    return math.fsum(kept) / len(kept) if kept else 0.0


def paying(values: Iterable[float]) -> float:
    """Average the terms above 0; 0 where there is none."""
    return mean(value for value in values if value > 0)


def positives(labels: Labels) -> list[tuple[int, int]]:
    rows = range(len(labels))
    return [(i, j) for i in rows for j in rows if i != j and labels[i] == labels[j]]


def negatives(labels: Labels) -> list[tuple[int, int]]:
    rows = range(len(labels))
    return [(i, j) for i in rows for j in rows if labels[i] != labels[j]]


def triplets(labels: Labels) -> list[tuple[int, int, int]]:
    return [(a, p, n) for a, p in positives(labels) for b, n in negatives(labels) if a == b]


def contrastive(points: Points, labels: Labels, d: Distance, near: float = 0.0, far: float = 1.0) -> float:
    """Add the means of both kinds of pair of Hadsell et al., CVPR 2006, equation 4, unsquared, over those that pay."""
    pull = paying(max(0.0, d(points[i], points[j]) - near) for i, j in positives(labels))
    return pull + paying(max(0.0, far - d(points[i], points[j])) for i, j in negatives(labels))


def triplet(points: Points, chosen: Iterable[tuple[int, int, int]], d: Distance, margin: float) -> float:
    """Average the loss of Schroff et al., CVPR 2015, section 3.1, unsquared, over the triplets that pay."""
    return paying(d(points[a], points[p]) - d(points[a], points[n]) + margin for a, p, n in chosen)


def soft_triplet(points: Points, chosen: Iterable[tuple[int, int, int]], d: Distance) -> float:
    """Average the soft margin of Hermans et al., 2017, section 2."""
    return mean(math.log1p(math.exp(d(points[a], points[p]) - d(points[a], points[n]))) for a, p, n in chosen)


def multi_similarity(
    points: Points, pulled: Pairs, pushed: Pairs, d: Distance, alpha: float, beta: float, base: float
) -> float:
    """Average the loss of Wang et al., CVPR 2019, section 4, over all images, with similarity 1 - d."""
    total = 0.0
    for i in range(len(points)):
        near = [1 - d(points[i], points[j]) for a, j in pulled if a == i]
        far = [1 - d(points[i], points[j]) for a, j in pushed if a == i]
        total += math.log1p(sum(math.exp(-alpha * (s - base)) for s in near)) / alpha
        total += math.log1p(sum(math.exp(beta * (s - base)) for s in far)) / beta
    return total / len(points)


def circle(points: Points, labels: Labels, m: float, gamma: float) -> float:
    """Average equation 6 of Sun et al., CVPR 2020, over anchors that have a positive and a negative."""
    terms = []
    for i in range(len(points)):
        near = [cosine(points[i], points[j]) for a, j in positives(labels) if a == i]
        far = [cosine(points[i], points[j]) for a, j in negatives(labels) if a == i]
        if near and far:
            pull = sum(math.exp(-gamma * max(0.0, 1 + m - s) * (s - (1 - m))) for s in near)
            push = sum(math.exp(gamma * max(0.0, s + m) * (s - m)) for s in far)
            terms.append(math.log1p(pull * push))
    return mean(terms)


def hard(points: Points, labels: Labels, d: Distance) -> Triplets:
    """Equation 5 of Hermans et al., 2017: each anchor's farthest positive and nearest negative."""
    found = set()
    for a in range(len(points)):
        near = [j for i, j in positives(labels) if i == a]
        far = [j for i, j in negatives(labels) if i == a]
        if near and far:
            p = max(near, key=lambda j: d(points[a], points[j]))
            found.add((a, p, min(far, key=lambda j: d(points[a], points[j]))))
    return found


def semi_hard(points: Points, labels: Labels, d: Distance, margin: float) -> Triplets:
    """Schroff et al., CVPR 2015, section 3.2: the negative is farther, by no more than the margin."""
    gaps = {(a, p, n): d(points[a], points[n]) - d(points[a], points[p]) for a, p, n in triplets(labels)}
    return {chosen for chosen, gap in gaps.items() if 0 < gap <= margin}


def easy_hard(points: Points, labels: Labels, d: Distance, semi: bool) -> Triplets:
    """Xuan et al., WACV 2020, section 3: nearest positive, nearest negative (farther than it, if `semi`)."""
    found = set()
    for a in range(len(points)):
        near = [j for i, j in positives(labels) if i == a]
        if not near:
            continue
        p = min(near, key=lambda j: d(points[a], points[j]))
        far = [j for i, j in negatives(labels) if i == a]
        far = [j for j in far if not semi or d(points[a], points[j]) > d(points[a], points[p])]
        if far:
            found.add((a, p, min(far, key=lambda j: d(points[a], points[j]))))
    return found


def similarity_pairs(points: Points, labels: Labels, d: Distance, epsilon: float) -> tuple[Pairs, Pairs]:
    """Mine as Wang et al., CVPR 2019, section 4, with similarity 1 - d."""
    pulled, pushed = set(), set()
    for i in range(len(points)):
        near = {j: 1 - d(points[i], points[j]) for a, j in positives(labels) if a == i}
        far = {j: 1 - d(points[i], points[j]) for a, j in negatives(labels) if a == i}
        if near and far:
            pulled |= {(i, j) for j, s in near.items() if s - epsilon < max(far.values())}
            pushed |= {(i, j) for j, s in far.items() if s + epsilon > min(near.values())}
    return pulled, pushed


def quadruplets(points: Points, labels: Labels, d: Distance) -> dict[int, tuple[float, float, float]]:
    """Return d(a, p), d(a, n1) and d(n1, n2) of every anchor's hardest quadruplet, each part by a search of its own."""
    found = {}
    rows = range(len(points))
    for a in rows:
        near = [d(points[a], points[j]) for j in rows if j != a and labels[j] == labels[a]]
        far = {j: d(points[a], points[j]) for j in rows if labels[j] != labels[a]}
        if not near or not far:
            continue
        first = min(far, key=lambda j: far[j])
        third = [d(points[first], points[j]) for j in rows if labels[j] not in (labels[a], labels[first])]
        if third:
            found[a] = (max(near), far[first], min(third))
    return found


def all_quadruplets(labels: Labels) -> set[tuple[int, int, int, int]]:
    """List every (a, p, n1, n2) of three different classes."""
    return {
        (a, p, first, second)
        for a, p in positives(labels)
        for first, second in negatives(labels)
        if labels[a] not in (labels[first], labels[second])
    }


def quadruplet(chosen: Iterable[tuple[float, float, float]], first: float, second: float) -> float:
    """Average the loss of Chen et al., CVPR 2017, over the anchors' quadruplets of distances."""
    return mean(max(0.0, p**2 - n**2 + first) + max(0.0, p**2 - m**2 + second) for p, n, m in chosen)


def squared_gap(points: Points, labels: Labels, d: Distance) -> float:
    """By how much the mean squared distance of negative pairs exceeds that of positive pairs; at least 0."""
    near = mean(d(points[i], points[j]) ** 2 for i, j in positives(labels))
    return max(0.0, mean(d(points[i], points[j]) ** 2 for i, j in negatives(labels)) - near)


def prototypes(views: Sequence[Points], labels: Labels, d: Distance, temperature: float) -> float:
    """Average equation 2 of Snell et al., NIPS 2017, over the queries; every other image of a class is support."""
    support: dict[int, list[list[float]]] = {}
    queries: list[tuple[Point, int]] = []
    for image, label in enumerate(labels):
        place, size = labels[:image].count(label), labels.count(label)
        for number, view in enumerate(views):
            if place % 2 == 0 and (size > 1 or number == 0):
                support.setdefault(label, []).append(unit(view[image]))
            else:
                queries.append((view[image], label))
    centres = {label: [mean(column) for column in zip(*rows, strict=True)] for label, rows in support.items()}
    terms = []
    for query, label in queries:
        scores = {other: math.exp(-(d(query, centre) ** 2) / temperature) for other, centre in centres.items()}
        terms.append(-math.log(scores[label] / sum(scores.values())))
    return mean(terms)


def sphere_weights(points: Points, labels: Labels, anchor: int, cutoff: float, farthest: float) -> dict[int, float]:
    """Probability of every negative: the inverse of the density of Wu et al., ICCV 2017, section 4, cut off."""
    dim = len(points[0])
    weights = {}
    for i, j in negatives(labels):
        distance = euclidean_distance(points[i], points[j])
        if i == anchor and distance < farthest:
            shown = max(distance, cutoff)
            weights[j] = 1 / (shown ** (dim - 2) * (1 - shown**2 / 4) ** ((dim - 3) / 2))
    return {j: weight / sum(weights.values()) for j, weight in weights.items()}
