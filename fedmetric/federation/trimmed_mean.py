"""Coordinate-wise trimmed mean.

Yin, Chen, Ramchandran, Bartlett, Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018,
definition 2: of the values that N clients have for a coordinate, the share beta at each end is dropped and the rest
averaged. With at most beta N attackers, every coordinate stays within the range of the honest clients.

The paper's beta N is whole; here it is rounded down, so that a round of fewer than 1 / beta updates drops nothing.
The paper's vectors are gradients, ours the clients' weights. Running means and variances are treated like all other
floats. Every client counts the same, whatever number of images it reports; see `fedmetric.federation.collecting`,
also for the memory that this takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fedmetric.arrays import Arrays
from fedmetric.federation.base import RuleContext
from fedmetric.federation.collecting import CollectingRule
from fedmetric.federation.robust import coordinate_wise, trimmed_mean
from fedmetric.options import Annotated, Field
from fedmetric.registry import rules


@rules.register("trimmed-mean")
class TrimmedMean(CollectingRule):
    """Average every coordinate without its smallest and largest values, each client alike."""

    def __init__(self, context: RuleContext, *, trim: Annotated[float, Field(ge=0, le=0.5)] = 0.2) -> None:
        """Set the share.

        Args:
            context: what the network is.
            trim: share of the round's updates that is dropped at each end, rounded down to whole updates: at least
                that of attackers; 0 is the mean with every client alike, 0.5 the median.
        """
        super().__init__(context)
        self.trim = trim

    def combine(self, updates: Sequence[Arrays]) -> Arrays:
        """Trim every coordinate; see `CollectingRule.combine`."""
        count = dropped(self.trim, len(updates))
        return coordinate_wise(updates, lambda rows: trimmed_mean(rows, count))


def dropped(trim: float, number: int) -> int:
    """Return how many of a number of values are dropped at each end; one or two are left at least."""
    share = math.floor(trim * number + 1e-9)  # 0.29 * 100 is 28.999999999999996
    return min(share, (number - 1) // 2)
