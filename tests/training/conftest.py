"""A tiny experiment and images made by hand, shared by the tests of the local loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedmetric.config import Experiment, parse_experiment
from fedmetric.data.base import ImageSet

SMALL = """
image_size = 16
[model]
width = 4
[objective]
hidden_dim = 5
output_dim = 3
[federation]
rounds = 4
[local]
batch_size = 4
"""


@pytest.fixture
def small() -> Callable[..., Experiment]:
    """Return a builder of small experiments from overrides."""
    return lambda *overrides: parse_experiment(SMALL, "small.toml", overrides)


@pytest.fixture
def make_images() -> Callable[..., ImageSet]:
    """Return a builder of random 16x16 images; image i has the number i in its first pixel and the label i % 3."""

    def build(count: int = 10) -> ImageSet:
        pixels = np.random.default_rng(1).integers(0, 256, (count, 16, 16, 1), dtype=np.uint8)
        pixels[:, 0, 0, 0] = np.arange(count)
        return ImageSet("random", pixels, np.arange(count, dtype=np.int64) % 3, ("a", "b", "c"))

    return build
