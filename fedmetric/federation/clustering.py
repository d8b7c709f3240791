"""Clusters of equal size by Sinkhorn's iteration; the same points give the same clusters.

Cuturi, Sinkhorn Distances: Lightspeed Computation of Optimal Transport, NIPS 2013, algorithm 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
SHARPNESS, SINKHORN_STEPS, LLOYD_STEPS = 25.0, 50, 10


def balanced(similarities: Matrix) -> Matrix:
    """Return assignments (N, K) with rows that add up to 1 and columns to N / K, nearest to softmax of similarities."""
    weights = np.exp(SHARPNESS * (similarities - similarities.max(axis=1, keepdims=True)))
    share = len(weights) / weights.shape[1]
    for _ in range(SINKHORN_STEPS):
        weights = weights * (share / np.maximum(weights.sum(axis=0, keepdims=True), 1e-300))
        weights = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    return np.asarray(weights)


def spread_out(points: Matrix, count: int) -> Matrix:
    """Choose `count` points one by one, each the farthest (by cosine) from those chosen before; the first is row 0."""
    chosen = [0]
    nearest = points @ points[0]
    while len(chosen) < count:
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, points @ points[chosen[-1]])
    return np.array(points[chosen])


def balanced_centroids(points: Matrix, count: int) -> Matrix:
    """Cluster unit vectors into `count` clusters of about equal size and return their unit centroids.

    Args:
        points: (N, D), unit norm, N >= 1; with fewer points than clusters, points stand for several clusters.
        count: K.
    """
    points = np.asarray(points, dtype=np.float64)
    centroids = spread_out(points, count)
    for _ in range(LLOYD_STEPS):
        cluster = balanced(points @ centroids.T).argmax(axis=1)
        for index in np.unique(cluster):
            mean = points[cluster == index].mean(axis=0)
            norm = float(np.sqrt(mean @ mean))
            if norm > 0:
                centroids[index] = mean / norm
    return centroids
