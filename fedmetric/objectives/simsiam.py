"""SimSiam.

Chen, He, Exploring Simple Siamese Representation Learning, CVPR 2021, equations 1 to 4.
"""

from __future__ import annotations

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import SimSiamPredictionHead, SimSiamProjectionHead
from torch import Tensor, nn

from fedmetric.objectives.base import Batch, Objective
from fedmetric.options import Count
from fedmetric.registry import objectives


@objectives.register("simsiam")
class SimSiam(Objective):
    """Predict one view's projection from the other's, whose gradient is stopped.

    A mean over images in principle, but not decomposable: both heads hold BatchNorm, which the method needs.
    """

    groups = ("projector", "predictor")

    def __init__(
        self, embedding_dim: int, *, hidden_dim: Count = 256, predictor_dim: Count = 64, output_dim: Count = 128
    ) -> None:
        """Build lightly's heads.

        Args:
            embedding_dim: D of the backbone.
            hidden_dim: width of the projector's two hidden layers.
            predictor_dim: width of the predictor's hidden layer, a bottleneck: a quarter of hidden_dim in the paper.
            output_dim: dimension of the projections.
        """
        super().__init__()
        self.projector = SimSiamProjectionHead(embedding_dim, hidden_dim, output_dim)
        self.predictor = SimSiamPredictionHead(output_dim, predictor_dim, output_dim)
        self.loss = NegativeCosineSimilarity()

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Average -cos of both directions: from -1 to 1; see `Objective.forward`."""
        first, second = (self.projector(backbone(view)) for view in batch.views)
        one, two = self.predictor(first).float(), self.predictor(second).float()
        loss: Tensor = 0.5 * (self.loss(one, second.detach().float()) + self.loss(two, first.detach().float()))
        return loss
