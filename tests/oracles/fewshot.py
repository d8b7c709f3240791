"""Nearest-prototype classification of one episode at a time, one query at a time."""

from __future__ import annotations

import numpy as np


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt((vector**2).sum())


def episode_accuracy(embeddings: np.ndarray, support: np.ndarray, queries: np.ndarray, distance: str) -> float:
    """Classify (N, Q) query rows by (N, K) support rows of (M, D) embeddings; return the share that is right."""
    right = total = 0
    rows = [unit(row) if distance == "cosine" else row for row in embeddings.astype(np.float64)]
    prototypes = [np.mean([rows[i] for i in images], axis=0) for images in support]
    for own, images in enumerate(queries):
        for image in images:
            if distance == "cosine":
                nearness = [float(unit(p) @ rows[image]) for p in prototypes]
            else:
                nearness = [-float(((p - rows[image]) ** 2).sum()) for p in prototypes]
            right += nearness.index(max(nearness)) == own
            total += 1
    return right / total
