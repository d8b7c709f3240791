"""L-DAWA.

Rehman, Gao, Porto Buarque de Gusmão, Alibeigi, Shen, Lane, L-DAWA: Layer-wise Divergence Aware Weight Aggregation in
Federated Self-Supervised Visual Representation Learning, ICCV 2023, section 3: each layer of a client counts by the
cosine between it and the server's layer, before a plain mean over clients.

The paper does not divide by the sum of the cosines, so that layers shrink where clients diverge; "sum" does. Only
parameters of two or more dimensions are scaled; the rest is averaged plainly. A layer of norm 0 counts by 1.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.federation.average import as_types
from fedmetric.federation.base import FederationRule, RuleContext, State, Total, Update
from fedmetric.registry import rules


@rules.register("l-dawa")
class LDAWA(FederationRule):
    """Let each layer of a client count by its cosine to the server's layer."""

    def __init__(self, context: RuleContext, *, normalise: Literal["none", "sum"] = "none") -> None:
        """Choose the divisor.

        Args:
            context: what the network is.
            normalise: "none" as in the paper; "sum" divides by the sum of the cosines, which makes the mean of equal
                clients their weights.
        """
        super().__init__(context)
        self.normalise = normalise

    def fold(self, total: Total, update: Update) -> None:
        """Scale each layer, then add the client with a weight of 1; see `FederationRule.fold`."""
        scaled: Arrays = dict(update.arrays)
        cosines: Arrays = {}
        for name, array in update.arrays.items():
            if array.ndim >= 2 and name in self.layout.parameters:
                cosines[name] = np.array(cosine(array, total.shared[name]))
                scaled[name] = array.astype(np.float64) * cosines[name]
        total.weights.fold(scaled, 1.0)
        total.extra.fold(cosines, 1.0)

    def finish(self, state: State, shared: Arrays, total: Total) -> tuple[State, Arrays]:
        """Return the plain mean, or with "sum" the weighted one; see `FederationRule.finish`."""
        mean, cosines = total.weights.mean(), total.extra.mean()
        if self.normalise == "sum":
            mean |= {name: mean[name] / cosine for name, cosine in cosines.items() if cosine > 0}
        return state, as_types(mean, shared) if mean else total.weights.result(shared)


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Return the cosine between two tensors taken as vectors; 1 where either has norm 0."""
    one, two = first.astype(np.float64), second.astype(np.float64)
    # sums, not products of vectors: BLAS splits those over threads, and other core counts would give other bits
    squares = float(np.sum(one * one)) * float(np.sum(two * two))
    return float(np.sum(one * two)) / float(np.sqrt(squares)) if squares > 0 else 1.0
