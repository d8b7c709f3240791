"""Norm clipping.

Sun, Kairouz, Suresh, McMahan, Can You Really Backdoor Federated Learning?, arXiv:1911.07963, 2019, norm thresholding
of updates: w <- w + sum_k (n_k / n) d_k / max(1, |d_k| / M), with d_k = w_k - w and M the bound.

The norm is that of all trained float parameters together, in float64. An update within the bound is left as it came,
so that a bound above every norm is FedAvg bit for bit.

What is not bounded: the number of images, by which clients count as in FedAvg and which they report themselves;
running statistics and targets, which are no trained parameters and are averaged (or pooled) as they come. Every
policy of federation.norm works; where clients are not trusted, group_norm has no statistics to be spoilt. The updates
are folded one by one and none is held. No noise is added, and no privacy follows.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.federation.base import FederationRule, RuleContext, Total, Update
from fedmetric.federation.drift import distance
from fedmetric.federation.robust import check_finite, trained
from fedmetric.options import Positive
from fedmetric.registry import rules


@rules.register("norm-clipping")
class NormClipping(FederationRule):
    """Average as FedAvg does, after scaling down every move that is longer than a bound."""

    def __init__(self, context: RuleContext, *, max_norm: Positive = 10.0) -> None:
        """Set the bound.

        Args:
            context: what the network is.
            max_norm: largest Euclidean distance that a client's parameters may be from the round's; ever larger
                values are FedAvg.
        """
        super().__init__(context)
        self.max_norm = max_norm

    def fold(self, total: Total, update: Update) -> None:
        """Clip, then add the update; see `FederationRule.fold`.

        Raises:
            ProtocolError: it has values that are not finite; names the client.
        """
        check_finite(update.arrays, update.client)
        names = trained(self.layout, update.arrays)
        super().fold(total, replace(update, arrays=clipped(update.arrays, total.shared, names, self.max_norm)))


def clipped(arrays: Arrays, start: Arrays, names: Collection[str], max_norm: float) -> Arrays:
    """Return the arrays with the difference to `start` over `names` scaled to a norm of at most `max_norm`.

    Within the bound, a difference of 0 included, they are returned as they came; beyond it, those of `names` are new
    and in float64.
    """
    norm = distance(start, arrays, names)
    if norm <= max_norm:
        return arrays
    starts = {name: start[name].astype(np.float64) for name in names}
    moved = {name: first + (arrays[name] - first) * (max_norm / norm) for name, first in starts.items()}
    return {**arrays, **moved}
