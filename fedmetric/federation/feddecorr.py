"""FedDecorr.

Shi, Liang, Zhang, Tan, Bai, Towards Understanding and Mitigating Dimensional Collapse in Heterogeneous Federated
Learning, ICLR 2023, section 5: the squared correlations between dimensions of the representation, added to the local
loss.

Difference: as in the authors' code, the mean runs over the off-diagonal entries of z^T z and is divided by the rows of
the batch, which are those of all its views together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fedmetric.federation.base import FederationRule, LocalRound, RuleContext
from fedmetric.options import NonNegative
from fedmetric.registry import rules

EPSILON = 1e-8


@rules.register("feddecorr")
class FedDecorr(FederationRule):
    """Add a local penalty on correlations between the dimensions of the embedding."""

    def __init__(self, context: RuleContext, *, weight: NonNegative = 0.1) -> None:
        """Set the penalty.

        Args:
            context: what the network is.
            weight: of the penalty; 0 is FedAvg.
        """
        super().__init__(context)
        self.strength = weight

    def penalty(self, now: LocalRound) -> Tensor | None:
        """Return the weighted penalty of all representations of the step; see `FederationRule.penalty`."""
        if not self.strength or not now.representations:
            return None
        return self.strength * decorrelation(torch.cat([found.flatten(1) for found in now.representations]))


def decorrelation(representations: Tensor) -> Tensor:
    """Return mean(offdiag(K)^2) / N with K = z^T z of representations standardised over the batch.

    Args:
        representations: (N, D) float; N = 1 gives 0.
    """
    count, dimension = representations.shape
    centred = representations.float() - representations.float().mean(dim=0)
    standard = centred / (centred.square().mean(dim=0) + EPSILON).sqrt()
    correlations = standard.T @ standard
    off = correlations.square().sum() - correlations.diagonal().square().sum()
    return off / max(1, dimension * (dimension - 1)) / count
