"""TiCo.

Zhu, Moraes, Karakulak, Sobol, Canziani, LeCun, TiCo: Transformation Invariance and Covariance Contrast for
Self-Supervised Visual Representation Learning, arXiv:2206.10698, 2022, section 3 (the loss and its pseudo-code).

Differences: the target's momentum is constant. lightly keeps the running covariance C in a plain attribute, which a
resume would lose: here it is a buffer, zero at first as there. It is made of a client's own images and stays there.
"""

from __future__ import annotations

import torch
from lightly.loss import TiCoLoss
from lightly.models.modules.heads import TiCoProjectionHead
from torch import Tensor, nn

from fedmetric.objectives.base import Batch
from fedmetric.objectives.momentum import MomentumObjective
from fedmetric.options import Count, Fraction, NonNegative
from fedmetric.registry import objectives


@objectives.register("tico")
class TiCo(MomentumObjective):
    """Bring the two views together and push projections out of the directions that past ones covary in.

    Not decomposable: the covariance is taken over images.
    """

    groups = ("projector", "covariance", "target")
    private = ("covariance",)
    target_policy = "local"

    def __init__(
        self, embedding_dim: int, *, beta: Fraction = 0.9, rho: NonNegative = 8.0, momentum: Fraction = 0.99,
        hidden_dim: Count = 256, output_dim: Count = 128,
    ) -> None:  # fmt: skip
        """Build the projector and the loss of lightly, which holds the covariance.

        Args:
            embedding_dim: D of the backbone.
            beta: share of the running covariance that stays in every step; 0 takes the batch's alone.
            rho: weight of the covariance term; 0 leaves only invariance.
            momentum: share of the target that stays in every step.
            hidden_dim: width of the projector's hidden layer.
            output_dim: dimensions that are contrasted.
        """
        super().__init__()
        self.momentum = momentum
        self.projector = TiCoProjectionHead(embedding_dim, hidden_dim, output_dim)
        self.covariance = TiCoLoss(beta=beta, rho=rho)
        del self.covariance.C
        self.covariance.register_buffer("C", torch.zeros(output_dim, output_dim))

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Compare the first view with the target's second, then move C; see `Objective.forward`."""
        online, target = self.projector(backbone(batch.views[0])).float(), self.target(batch.views[1]).float()
        loss: Tensor = self.covariance(online, target, update_covariance_matrix=online.requires_grad)
        return loss
