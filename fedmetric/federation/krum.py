"""Krum and Multi-Krum.

Blanchard, El Mhamdi, Guerraoui, Stainer, Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent,
NeurIPS 2017, section 4: every update has for its score the sum of its squared distances to its N - f - 2 nearest
others, and the update with the smallest score is the result; Multi-Krum averages the m with the smallest.

N >= 2f + 3 is needed. Differences: the vectors are weights, not gradients; with f = 0 any number of updates goes; at
most N - f are averaged, whatever m is, because that many are honest. Of equal scores, the smaller sum of all distances
is the better, then the lowest client index.

Distances are over the trained float parameters. Running means and variances, and whatever else is not trained, come
with the selected updates: an attacker with trustworthy parameters brings its own, so use group_norm where that
matters. Under federation.norm = "pooled", variances are pooled over the selected. Every client counts the same,
whatever number of images it reports; see `fedmetric.federation.collecting`, also for the memory that this takes. The
time grows with the square of N.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedmetric.arrays import Arrays
from fedmetric.federation.average import WeightedMean
from fedmetric.federation.base import RuleContext
from fedmetric.federation.robust import Rows
from fedmetric.federation.selecting import SelectingRule
from fedmetric.options import Count, Whole
from fedmetric.registry import rules


@rules.register("krum")
class Krum(SelectingRule):
    """Take the update nearest to its nearest others, or the mean of several such, each client alike."""

    pools = True
    times = 2

    def __init__(self, context: RuleContext, *, malicious: Whole = 0, selected: Count = 1) -> None:
        """Set the numbers.

        Args:
            context: what the network is, and how many clients there are.
            malicious: clients of a round that may send anything, f; a round needs 2f + 3 updates; 0 protects from
                none.
            selected: updates with the best scores that are averaged, m, but never more than all but f; 1 is Krum,
                ever larger values with f = 0 the mean with every client alike.
        """
        super().__init__(context, malicious)
        self.selected = selected

    def select(self, updates: Sequence[Arrays], distances: Rows) -> Arrays:
        """Average the m best, added up in the order of clients; see `SelectingRule.select`."""
        count = min(self.selected, len(updates) - self.malicious)
        total = WeightedMean(self.context.pooled)
        for place in sorted(krum_order(distances, self.malicious)[:count]):
            total.fold(updates[place], 1.0)
        return total.mean()


def krum_scores(distances: Rows, malicious: int) -> Rows:
    """Return the sum of every update's squared distances to its N - f - 2 nearest others, one at least, (N,) float64.

    Args:
        distances: (N, N) float64, squared, symmetric.
        malicious: f, updates that may be anything.
    """
    neighbours = max(len(distances) - malicious - 2, 1)
    nearest = np.sort(distances, axis=1)[:, 1 : 1 + neighbours]  # without the 0 to itself
    return np.asarray(nearest.sum(axis=1))


def krum_order(distances: Rows, malicious: int) -> list[int]:
    """Return the places of the updates, the smallest score first; see `krum_scores`.

    Equal scores, as two have that are each other's only neighbour, go by the sum of all distances, then by place.
    """
    sums = np.sort(distances, axis=1).sum(axis=1)  # sorted, so that equal updates have equal bits
    order: list[int] = np.lexsort((sums, krum_scores(distances, malicious))).tolist()
    return order
