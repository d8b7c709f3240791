"""Weights that make rare classes of a client count as much as frequent ones."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

EFFECTIVE_BETA = 0.999


def class_weights(labels: np.ndarray, kind: Literal["inverse", "effective"]) -> Tensor:
    """Return the weight of every class, scaled so that a client's images weigh 1 on average.

    Args:
        labels: (N,) int64, each of 0..K-1 at least once; -1 for images without a label.
        kind: "inverse" for 1 / n; "effective" for (1 - beta) / (1 - beta^n) with beta 0.999 (Cui, Jia, Lin, Song,
            Belongie, Class-Balanced Loss Based on Effective Number of Samples, CVPR 2019, equation 5).

    Returns:
        (K,) float32; one weight of 1 where no image has a label.
    """
    counts = np.bincount(labels[labels >= 0]).astype(np.float64)
    if not len(counts):
        return torch.ones(1)
    weights = 1 / counts if kind == "inverse" else (1 - EFFECTIVE_BETA) / (1 - EFFECTIVE_BETA**counts)
    return torch.from_numpy(weights * counts.sum() / (weights * counts).sum()).float()
