"""SupCon.

Khosla, Teterwak, Wang, Sarna, Tian, Isola, Maschinot, Liu, Krishnan, Supervised Contrastive Learning, NeurIPS 2020,
equation 2, over both views.

Differences: images without a label are left out of the batch. pytorch-metric-learning averages over anchors with a loss
above 0 by default, here over all anchors, and returns 0 where all labelled images are of one class.
"""

from __future__ import annotations

import torch
from lightly.models.modules import SimCLRProjectionHead
from pytorch_metric_learning.losses import SupConLoss
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor, nn

from fedmetric.objectives.base import Batch, Objective
from fedmetric.objectives.labelled import count_labelled, keep_labelled, zero_of
from fedmetric.options import Count, Positive
from fedmetric.registry import objectives


@objectives.register("supcon")
class SupCon(Objective):
    """Tell all views of the images of a class from the views of other classes in the batch.

    Not decomposable: positives and negatives are other images.
    """

    needs_labels = True
    min_classes = 2
    groups = ("projector",)

    def __init__(
        self, embedding_dim: int, *, temperature: Positive = 0.1, hidden_dim: Count = 256, output_dim: Count = 128
    ) -> None:
        """Build the projector of lightly and the loss of pytorch-metric-learning.

        Args:
            embedding_dim: D of the backbone.
            temperature: T of equation 2; smaller weighs near negatives more.
            hidden_dim: width of the projector's hidden layer.
            output_dim: dimension that the loss compares.
        """
        super().__init__()
        self.projector = SimCLRProjectionHead(embedding_dim, hidden_dim, output_dim)
        self.loss = SupConLoss(temperature=temperature, reducer=MeanReducer())

    def contributing(self, batch: Batch) -> int:
        """Count the labelled images, or 0 where all are of one class: the loss is 0 then; see `Objective`."""
        return count_labelled(batch, self.min_classes)

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Project both views of the labelled images in one pass; 0 where there are none; see `Objective.forward`."""
        views, labels = keep_labelled(batch)
        if len(labels) == 0:
            return zero_of(backbone, self.projector)
        projections = self.projector(backbone(torch.cat(views))).float()
        loss: Tensor = self.loss(projections, labels.repeat(2))
        return loss
