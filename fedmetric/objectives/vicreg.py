"""VICReg.

Bardes, Ponce, LeCun, VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning, ICLR 2022,
equations 1 to 6.

Differences, which lightly shares with the authors' code: the variance terms of the two views are averaged instead of
added (equation 6), and the invariance term is also divided by the dimension (equation 5).
"""

from __future__ import annotations

from lightly.loss import VICRegLoss
from lightly.models.modules.heads import VICRegProjectionHead
from torch import Tensor, nn

from fedmetric.objectives.base import Batch, Objective
from fedmetric.options import Count, NonNegative
from fedmetric.registry import objectives


@objectives.register("vicreg")
class VICReg(Objective):
    """Bring views together while every dimension varies over the batch and no two dimensions covary.

    Not decomposable: variances and covariances are taken over the batch.
    """

    groups = ("projector",)

    def __init__(
        self, embedding_dim: int, *, invariance: NonNegative = 25.0, variance: NonNegative = 25.0,
        covariance: NonNegative = 1.0, hidden_dim: Count = 256, output_dim: Count = 128,
    ) -> None:  # fmt: skip
        """Build the projector and the loss of lightly.

        Args:
            embedding_dim: D of the backbone.
            invariance: lambda of equation 6, the weight of the distance between views.
            variance: mu of equation 6, the weight of the hinge on standard deviations; 0 permits collapse.
            covariance: nu of equation 6, the weight of squared covariances.
            hidden_dim: width of the projector's two hidden layers.
            output_dim: dimensions that are regularised.
        """
        super().__init__()
        self.projector = VICRegProjectionHead(embedding_dim, hidden_dim, output_dim)
        self.loss = VICRegLoss(lambda_param=invariance, mu_param=variance, nu_param=covariance)

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Add up the three terms of both views' projections; see `Objective.forward`."""
        first, second = (self.projector(backbone(view)).float() for view in batch.views)
        loss: Tensor = self.loss(first, second)
        return loss
