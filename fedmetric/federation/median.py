"""Coordinate-wise median.

Yin, Chen, Ramchandran, Bartlett, Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates, ICML 2018,
definition 1: every coordinate is the median of the values that the clients have for it, of an even number the mean of
the middle two. While fewer than half are attackers, it stays within the range of the honest clients.

The paper's vectors are gradients, ours the clients' weights. Running means and variances are treated like all other
floats. Every client counts the same, whatever number of images it reports; see `fedmetric.federation.collecting`,
also for the memory that this takes.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedmetric.arrays import Arrays
from fedmetric.federation.collecting import CollectingRule
from fedmetric.federation.robust import coordinate_wise, median
from fedmetric.registry import rules


@rules.register("median")
class Median(CollectingRule):
    """Take the median of every coordinate, each client alike."""

    def combine(self, updates: Sequence[Arrays]) -> Arrays:
        """Take the medians; see `CollectingRule.combine`."""
        return coordinate_wise(updates, median)
