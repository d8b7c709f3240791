"""Figures of an embedding space over explicit pairs and a full singular value decomposition."""

from __future__ import annotations

import itertools
import math

import numpy as np


def squared(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).sum())


def uniformity(unit: np.ndarray) -> float:
    pairs = list(itertools.combinations(unit, 2))
    return math.log(sum(math.exp(-2 * squared(a, b)) for a, b in pairs) / len(pairs))


def alignment(unit: np.ndarray, labels: np.ndarray) -> float:
    pairs = [(i, j) for i, j in itertools.combinations(range(len(unit)), 2) if labels[i] == labels[j]]
    return sum(squared(unit[i], unit[j]) for i, j in pairs) / len(pairs)


def effective_rank(unit: np.ndarray) -> float:
    singular = np.linalg.svd(unit, compute_uv=False)
    shares = [s / singular.sum() for s in singular if s > 1e-6 * singular[0]]
    return math.exp(-sum(p * math.log(p) for p in shares))
