"""Algorithm 2 of Reddi et al., ICLR 2021, one weight at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence


def adaptive(
    start: float, deltas: Sequence[float], lr: float, beta1: float, beta2: float, tau: float, yogi: bool
) -> list[float]:
    """Return the weight after every round, given the clients' mean change in each."""
    weight, first, second, found = start, 0.0, tau * tau, []
    for delta in deltas:
        first = beta1 * first + (1 - beta1) * delta
        square = delta * delta
        if yogi:
            sign = (second > square) - (second < square)
            second = second - (1 - beta2) * square * sign
        else:
            second = beta2 * second + (1 - beta2) * square
        weight += lr * first / (math.sqrt(second) + tau)
        found.append(weight)
    return found
