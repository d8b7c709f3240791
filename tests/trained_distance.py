"""Distances of every registered name, away from where they start."""

from __future__ import annotations

import torch

from fedmetric.distances.base import PairDistance
from fedmetric.registry import distances

NAMES = sorted(distances)


def trained(name: str, dim: int, by: float = 0.5) -> PairDistance:
    """Build a distance whose weights, if it has any, are moved at random from those it starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        built = distances.build(distances[name].options(), dim)
        for weight in built.parameters():
            weight.data += by * torch.randn_like(weight)
    assert isinstance(built, PairDistance)
    return built
