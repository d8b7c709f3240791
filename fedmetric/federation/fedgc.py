"""FedGC: a softmax across clients at the server.

Niu, Deng, Federated Learning for Face Recognition with Gradient Correction, AAAI 2022, equation 6: clients tell their
own classes apart, and the server corrects the proxies by a softmax in which each class has itself as the positive and
the classes of all other clients as negatives.

Differences: rows have unit length and move along the sphere, the softmax has a scale, and there may be several steps.
The loss is the sum over rows, so that what a row moves does not depend on how many there are.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fedmetric.federation.base import RuleContext
from fedmetric.federation.proxies import ProxyRule
from fedmetric.federation.proxy_rows import joined, moved, parted
from fedmetric.options import Positive, Whole
from fedmetric.registry import rules


@rules.register("fedgc")
class FedGC(ProxyRule):
    """Average the weights, and tell the proxies of different clients apart by a softmax at the server."""

    requires = ("proxies",)
    shares = "weights, and a row or several for each class of the client, without names"
    sends_extra = True

    def __init__(
        self, context: RuleContext, *, step: Positive = 0.005, steps: Whole = 10, scale: Positive = 16.0
    ) -> None:
        """Set the correction.

        Args:
            context: what the network is.
            step: size of a gradient step, lambda times eta.
            steps: gradient steps in a round; 0 leaves the proxies as they come.
            scale: what cosines are multiplied by in the softmax.
        """
        super().__init__(context)
        self.step, self.steps, self.scale = step, steps, scale

    def separate(self, rows: dict[int, Tensor]) -> dict[int, Tensor]:
        """Take the steps on all rows together; see `ProxyRule.separate`."""
        if not self.steps:
            return rows
        flat, _ = joined(rows)
        owners = torch.cat([torch.full((found.shape[0] * found.shape[1],), client) for client, found in rows.items()])
        for _ in range(self.steps):
            flat = moved(flat, lambda unit: cross_softmax(unit, owners, self.scale), self.step)
        return parted(flat, rows)


def cross_softmax(rows: Tensor, owners: Tensor, scale: float) -> Tensor:
    """Sum over rows -log of the share of the row's own, fixed copy against the rows of other clients.

    Args:
        rows: (R, D) float, unit norm.
        owners: (R,) int64 client of each row.
        scale: of the cosines.
    """
    own = (rows * rows.detach()).sum(dim=1, keepdim=True)
    others = (rows @ rows.T).masked_fill(owners[:, None] == owners[None, :], float("-inf"))
    return -functional.log_softmax(scale * torch.cat([own, others], dim=1), dim=1)[:, 0].sum()
