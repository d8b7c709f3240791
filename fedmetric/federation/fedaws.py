"""FedAwS: averaging with spread-out.

Yu, Rawat, Menon, Kumar, Federated Learning with Only Positive Labels, ICML 2020, algorithm 1 and equation 9: the server
keeps the embeddings of all classes apart by gradient steps on the squared hinge of the distance between each and its
nearest others.

Differences: rows have unit length and move along the sphere, and there may be several steps in a round; the paper's
step is lambda times its learning rate, here one number, `step`. Rows of one class (several centres) do not push one
another. Two rows that are exactly equal have no direction to part in and stay; those that start at random do not meet.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from fedmetric.federation.base import RuleContext
from fedmetric.federation.proxies import ProxyRule
from fedmetric.federation.proxy_rows import joined, moved, parted
from fedmetric.options import Count, Positive, Whole
from fedmetric.registry import rules


@rules.register("fedaws")
class FedAwS(ProxyRule):
    """Average the weights, and spread out the proxies of all clients' classes at the server."""

    requires = ("proxies",)
    shares = "weights, and a row or several for each class of the client, without names"
    sends_extra = True

    def __init__(
        self, context: RuleContext, *, step: Positive = 0.05, steps: Whole = 20, margin: Positive = 1.3,
        neighbours: Count = 10,
    ) -> None:  # fmt: skip
        """Set the spreading.

        Args:
            context: what the network is.
            step: size of a gradient step, lambda times eta.
            steps: gradient steps in a round; 0 leaves the proxies as they come.
            margin: distance of unit vectors from which two proxies are far enough, nu; 1.41 is a right angle.
            neighbours: nearest other proxies that each is pushed from, k.
        """
        super().__init__(context)
        self.step, self.steps, self.margin, self.neighbours = step, steps, margin, neighbours

    def separate(self, rows: dict[int, Tensor]) -> dict[int, Tensor]:
        """Take the steps on all rows together; see `ProxyRule.separate`."""
        if not self.steps:
            return rows
        flat, classes = joined(rows)
        for _ in range(self.steps):
            flat = moved(flat, lambda unit: spread_loss(unit, classes, self.margin, self.neighbours), self.step)
        return parted(flat, rows)


def spread_loss(rows: Tensor, classes: Tensor, margin: float, neighbours: int) -> Tensor:
    """Sum the squared hinges of every row's distance to its nearest rows of other classes.

    Args:
        rows: (R, D) float, unit norm.
        classes: (R,) int64.
        margin: nu.
        neighbours: k; all others where there are fewer.
    """
    squares = (2 - 2 * rows @ rows.T).clamp_min(1e-12)  # sqrt has no gradient at 0
    distances = squares.sqrt().masked_fill(classes[:, None] == classes[None, :], float("inf"))
    nearest = distances.topk(min(neighbours, len(rows)), dim=1, largest=False).values
    return functional.relu(margin - nearest).square().sum()
