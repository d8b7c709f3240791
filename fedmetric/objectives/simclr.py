"""SimCLR.

Chen, Kornblith, Norouzi, Hinton, A Simple Framework for Contrastive Learning of Visual Representations, ICML 2020,
equation 1 (NT-Xent) and section 4.2 (projection head).
"""

from __future__ import annotations

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules import SimCLRProjectionHead
from torch import Tensor, nn

from fedmetric.objectives.base import Batch, Objective
from fedmetric.options import Count, Positive
from fedmetric.registry import objectives


@objectives.register("simclr")
class SimCLR(Objective):
    """Tell the two views of an image from the views of all other images in the batch (NT-Xent)."""

    groups = ("projector",)

    def __init__(
        self, embedding_dim: int, *, temperature: Positive = 0.5, hidden_dim: Count = 256, output_dim: Count = 128
    ) -> None:
        """Build the projector and the loss of lightly.

        Args:
            embedding_dim: D of the backbone.
            temperature: T of equation 1; smaller weighs near negatives more.
            hidden_dim: width of the projector's hidden layer.
            output_dim: dimension that the loss compares.
        """
        super().__init__()
        self.projector = SimCLRProjectionHead(embedding_dim, hidden_dim, output_dim)
        self.loss = NTXentLoss(temperature=temperature)

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Project both views in one pass and compare them; see `Objective.forward`."""
        projections = self.projector(backbone(torch.cat(batch.views)))
        first, second = projections.float().chunk(2)
        loss: Tensor = self.loss(first, second)
        return loss
