"""Barlow Twins.

Zbontar, Jing, Misra, LeCun, Deny, Barlow Twins: Self-Supervised Learning via Redundancy Reduction, ICML 2021,
equations 1 and 2.

Difference: heads of some hundred dimensions instead of 8,192.
"""

from __future__ import annotations

from lightly.loss import BarlowTwinsLoss
from lightly.models.modules import BarlowTwinsProjectionHead
from torch import Tensor, nn

from fedmetric.objectives.base import Batch, Objective
from fedmetric.options import Count, NonNegative
from fedmetric.registry import objectives


@objectives.register("barlow-twins")
class BarlowTwins(Objective):
    """Make the cross-correlation of the two views' dimensions the identity matrix.

    Not decomposable: correlations are taken over the batch.
    """

    groups = ("projector",)

    def __init__(
        self, embedding_dim: int, *, redundancy: NonNegative = 0.005, hidden_dim: Count = 256, output_dim: Count = 128
    ) -> None:
        """Build the projector and the loss of lightly.

        Args:
            embedding_dim: D of the backbone.
            redundancy: lambda of equation 1, the weight of correlations between dimensions; 0 leaves only invariance.
            hidden_dim: width of the projector's two hidden layers.
            output_dim: dimensions that are correlated.
        """
        super().__init__()
        self.projector = BarlowTwinsProjectionHead(embedding_dim, hidden_dim, output_dim)
        self.loss = BarlowTwinsLoss(lambda_param=redundancy)

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Correlate the projections of both views; see `Objective.forward`."""
        first, second = (self.projector(backbone(view)).float() for view in batch.views)
        loss: Tensor = self.loss(first, second)
        return loss
