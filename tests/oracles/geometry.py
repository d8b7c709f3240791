"""Points whose distances can be read off by eye, and random points with exact ties."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def circle(*degrees: float) -> Tensor:
    """Return points on the unit circle at these angles, (N, 2) float32; nearer in angle is nearer in cosine."""
    return torch.tensor([[math.cos(math.radians(d)), math.sin(math.radians(d))] for d in degrees])


def tied_points(num: int, dim: int, seed: int) -> Tensor:
    """Return (num, dim) float32 with coordinates in {-1, 1}: many rows are equal and most distances tie."""
    return torch.from_numpy(np.random.default_rng(seed).choice([-1.0, 1.0], (num, dim)).astype(np.float32))


def cloud(num: int, dim: int, seed: int) -> Tensor:
    """Return (num, dim) float32 standard normal."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((num, dim)).astype(np.float32))


def clusters(num_classes: int, size: int, dim: int, seed: int, spread: float) -> tuple[Tensor, np.ndarray]:
    """Return `size` points around each of `num_classes` random centres, and their (N,) int64 labels."""
    labels = np.repeat(np.arange(num_classes), size)
    points = cloud(num_classes, dim, seed)[torch.from_numpy(labels)] + spread * cloud(len(labels), dim, seed + 1)
    return points, labels
