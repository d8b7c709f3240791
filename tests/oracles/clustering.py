"""Agreement of two partitions, over explicit pairs of images and tables of counts."""

from __future__ import annotations

import itertools
import math
from collections import Counter

Ids = list[int]


def entropy(ids: Ids) -> float:
    return -math.fsum(c / len(ids) * math.log(c / len(ids)) for c in Counter(ids).values())


def nmi(clusters: Ids, labels: Ids) -> float:
    """Return mutual information over the mean of both entropies."""
    count, both = len(labels), Counter(zip(clusters, labels, strict=True))
    first, second = Counter(clusters), Counter(labels)
    information = math.fsum(c / count * math.log(c * count / (first[a] * second[b])) for (a, b), c in both.items())
    return information / ((entropy(clusters) + entropy(labels)) / 2)


def ari(clusters: Ids, labels: Ids) -> float:
    """Return the Rand index less its expectation, over the largest possible less the same, from all pairs."""
    pairs = list(itertools.combinations(range(len(labels)), 2))
    a = sum(clusters[i] == clusters[j] for i, j in pairs)
    b = sum(labels[i] == labels[j] for i, j in pairs)
    both = sum(clusters[i] == clusters[j] and labels[i] == labels[j] for i, j in pairs)
    expected = a * b / len(pairs)
    return (both - expected) / ((a + b) / 2 - expected)


def purity(clusters: Ids, labels: Ids) -> float:
    members = {c: [label for own, label in zip(clusters, labels, strict=True) if own == c] for c in clusters}
    return sum(max(Counter(own).values()) for own in members.values()) / len(labels)
