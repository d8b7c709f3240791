"""Proxy losses as loops over images and proxies, in double precision, from the papers' equations."""

from __future__ import annotations

import math

Points = list[list[float]]
Rows = list[list[list[float]]]


def cosine(first: list[float], second: list[float]) -> float:
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return product / math.sqrt(sum(a * a for a in first) * sum(b * b for b in second))


def cross_entropy(logits: list[float], label: int, smoothing: float = 0.0) -> float:
    largest = max(logits)
    total = largest + math.log(sum(math.exp(value - largest) for value in logits))
    share = smoothing / len(logits)
    return sum((total - value) * (share + (1 - smoothing) * (place == label)) for place, value in enumerate(logits))


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def proxy_nca(points: Points, labels: list[int], rows: Rows, scale: float) -> float:
    """ProxyNCA++, equation 7: squared distances of unit vectors are 2 - 2 cos."""
    return mean([
        cross_entropy([-scale * (2 - 2 * cosine(point, row[0])) for row in rows], label)
        for point, label in zip(points, labels, strict=True)
    ])  # fmt: skip


def proxy_anchor(points: Points, labels: list[int], rows: Rows, margin: float, scale: float) -> float:
    """Proxy-Anchor, equation 4."""
    positive, negative, present = 0.0, 0.0, 0
    for label, row in enumerate(rows):
        near = [
            math.exp(-scale * (cosine(p, row[0]) - margin)) for p, y in zip(points, labels, strict=True) if y == label
        ]
        far = [
            math.exp(scale * (cosine(p, row[0]) + margin)) for p, y in zip(points, labels, strict=True) if y != label
        ]
        present += bool(near)
        positive += math.log(1 + sum(near))
        negative += math.log(1 + sum(far))
    return positive / present + negative / len(rows)


def soft_triple(points: Points, labels: list[int], rows: Rows, scale: float, gamma: float, margin: float) -> float:
    """SoftTriple, equations 7 and 8."""
    losses = []
    for point, label in zip(points, labels, strict=True):
        logits = []
        for place, centres in enumerate(rows):
            cosines = [cosine(point, centre) for centre in centres]
            weights = [math.exp(value / gamma) for value in cosines]
            similarity = sum(w * c for w, c in zip(weights, cosines, strict=True)) / sum(weights)
            logits.append(scale * (similarity - margin * (place == label)))
        losses.append(cross_entropy(logits, label))
    return mean(losses)


def arcface(points: Points, labels: list[int], rows: Rows, degrees: float, scale: float, smoothing: float = 0) -> float:
    """ArcFace, equation 3, for angles that the margin leaves below 180 degrees."""
    losses = []
    for point, label in zip(points, labels, strict=True):
        angles = [math.acos(cosine(point, row[0])) for row in rows]
        logits = [scale * math.cos(a + math.radians(degrees) * (place == label)) for place, a in enumerate(angles)]
        losses.append(cross_entropy(logits, label, smoothing))
    return mean(losses)


def cosface(points: Points, labels: list[int], rows: Rows, margin: float, scale: float, smoothing: float = 0) -> float:
    """CosFace, equation 4."""
    losses = []
    for point, label in zip(points, labels, strict=True):
        logits = [scale * (cosine(point, row[0]) - margin * (place == label)) for place, row in enumerate(rows)]
        losses.append(cross_entropy(logits, label, smoothing))
    return mean(losses)


def norm_softmax(points: Points, labels: list[int], rows: Rows, temperature: float, smoothing: float = 0) -> float:
    """NormSoftmax, equation 4."""
    return cosface(points, labels, rows, 0.0, 1 / temperature, smoothing)


def positive_cosine(points: Points, labels: list[int], rows: Rows, margin: float) -> float:
    """FedAwS, section 3.2."""
    return mean([max(0.0, margin - cosine(p, rows[y][0])) ** 2 for p, y in zip(points, labels, strict=True)])
