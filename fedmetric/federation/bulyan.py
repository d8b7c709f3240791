"""Bulyan, with Krum inside.

El Mhamdi, Guerraoui, Rouault, The Hidden Vulnerability of Distributed Learning in Byzantium, ICML 2018, section 4:
an update that Krum selects is taken out of the round, until N - 2f are; every coordinate is then the mean of the N - 4f
values among those that are closest to their median. Krum alone lets an attacker hide a large change of
one coordinate in a small distance over all; this does not.

N >= 4f + 3 is needed. Differences: the vectors are weights, not gradients; with f = 0 any number of updates goes, and
the result is the mean with every client alike; the median of an even number is the mean of the middle two, where the
paper takes one of the values; the last scores count one neighbour where the paper's formula comes to none (f = 1).
Equal scores go as in Krum; of two values equally far from the median, the smaller counts as the closer.

Distances are over the trained float parameters; the second step treats running means and variances like all other
floats. Every client counts the same, whatever number of images it reports; see `fedmetric.federation.collecting`,
also for the memory that this takes. The time grows with the square of N.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.federation.base import RuleContext
from fedmetric.federation.krum import krum_order
from fedmetric.federation.robust import Rows, coordinate_wise, mean_around_median
from fedmetric.federation.selecting import SelectingRule
from fedmetric.options import Whole
from fedmetric.registry import rules


@rules.register("bulyan")
class Bulyan(SelectingRule):
    """Select updates by Krum again and again, then average every coordinate around its median, each client alike."""

    times = 4

    def __init__(self, context: RuleContext, *, malicious: Whole = 0) -> None:
        """Set the number.

        Args:
            context: what the network is, and how many clients there are.
            malicious: clients of a round that may send anything, f; a round needs 4f + 3 updates; 0 is the mean with
                every client alike, which protects from none.
        """
        super().__init__(context, malicious)

    def select(self, updates: Sequence[Arrays], distances: Rows) -> Arrays:
        """Take the two steps; see `SelectingRule.select`."""
        places = selection(distances, self.malicious)
        count = len(places) - 2 * self.malicious
        return coordinate_wise([updates[place] for place in places], lambda rows: mean_around_median(rows, count))


def selection(distances: Rows, malicious: int) -> list[int]:
    """Return the places of the N - 2f updates that Krum selects one after the other, in ascending order.

    Args:
        distances: (N, N) float64, squared.
        malicious: f.
    """
    left = list(range(len(distances)))
    while len(left) > 2 * malicious:
        del left[krum_order(distances[np.ix_(left, left)], malicious)[0]]
    return sorted(set(range(len(distances))) - set(left))
