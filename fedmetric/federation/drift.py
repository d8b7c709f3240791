"""How far weights have moved."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from fedmetric.arrays import Arrays


def distance(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], names: Collection[str]) -> float:
    """Return the Euclidean distance between two sets of weights over these tensors."""
    squares = (np.sum((first[name].astype(np.float64) - second[name].astype(np.float64)) ** 2) for name in names)
    return float(np.sqrt(sum(squares)))


def layer_drift(before: Arrays, after: Arrays, layers: Collection[str]) -> float:
    """Return the mean over layers of the Euclidean distance that each has moved; 0 without layers."""
    moved = [distance(before, after, [name]) for name in layers if name in before]
    return float(np.mean(moved)) if moved else 0.0


def kept(memory: Mapping[str, np.ndarray], prefix: str) -> Arrays:
    """Read the tensors that a rule has stored in a client's memory under a prefix."""
    return {name.removeprefix(prefix): array for name, array in memory.items() if name.startswith(prefix)}
