"""Directions of canary clients: drawn again whenever they are needed, one at a time, and kept nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from fedmetric.seeds import numpy_generator


def directions(seed: int, numbers: Iterable[int], dimensions: int) -> Iterator[NDArray[np.float64]]:
    """Yield random unit vectors, (dimensions,) float64, one for each number.

    Args:
        seed: of the experiment.
        numbers: of the canaries.
        dimensions: numbers that are trained and shared.
    """
    for number in numbers:
        drawn = numpy_generator(seed, "direction of a canary", client=number).standard_normal(dimensions)
        yield drawn / np.linalg.norm(drawn)
