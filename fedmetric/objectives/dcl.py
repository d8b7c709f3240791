"""DCL.

Yeh, Hong, Hsu, Liu, Chen, LeCun, Decoupled Contrastive Learning, ECCV 2022, equation 6.

Difference: temperature 0.5, that of `simclr` here, so that the two differ in the loss alone.
"""

from __future__ import annotations

import torch
from lightly.loss import DCLLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor, nn

from fedmetric.objectives.base import Batch, Objective
from fedmetric.options import Count, Positive
from fedmetric.registry import objectives


@objectives.register("dcl")
class DCL(Objective):
    """Do as SimCLR, with the positive pair left out of the denominator (decoupled contrastive learning).

    Not decomposable: the negatives are other images.
    """

    groups = ("projector",)

    def __init__(
        self, embedding_dim: int, *, temperature: Positive = 0.5, hidden_dim: Count = 256, output_dim: Count = 128
    ) -> None:
        """Build the projector and the loss of lightly.

        Args:
            embedding_dim: D of the backbone.
            temperature: T of equation 6; smaller weighs near negatives more.
            hidden_dim: width of the projector's hidden layer.
            output_dim: dimension that the loss compares.
        """
        super().__init__()
        self.projector = SimCLRProjectionHead(embedding_dim, hidden_dim, output_dim)
        self.loss = DCLLoss(temperature=temperature)

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Project both views in one pass and compare them; see `Objective.forward`."""
        first, second = self.projector(backbone(torch.cat(batch.views))).float().chunk(2)
        loss: Tensor = self.loss(first, second)
        return loss
