"""BYOL.

Grill, Strub, Altché, Tallec, Richemond, Buchatskaya, Doersch, Avila Pires, Guo, Gheshlaghi Azar, Piot, Kavukcuoglu,
Munos, Valko, Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning, NeurIPS 2020, equations 1 (target)
and 2 (loss), both directions added up.

Differences: the target's momentum is constant instead of rising to 1; in a federation the target stays at its client.
"""

from __future__ import annotations

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules import BYOLPredictionHead, BYOLProjectionHead
from torch import Tensor, nn

from fedmetric.objectives.base import Batch
from fedmetric.objectives.momentum import MomentumObjective
from fedmetric.options import Count, Fraction
from fedmetric.registry import objectives


@objectives.register("byol")
class BYOL(MomentumObjective):
    """Predict the target's projection of one view from the online projection of the other.

    A sum over images in principle, but not decomposable: both heads hold BatchNorm.
    """

    groups = ("projector", "predictor", "target")
    target_policy = "local"

    def __init__(
        self, embedding_dim: int, *, momentum: Fraction = 0.99, hidden_dim: Count = 256, output_dim: Count = 128
    ) -> None:
        """Build lightly's heads.

        Args:
            embedding_dim: D of the backbone.
            momentum: share of the target that stays in every step; 1 never moves it.
            hidden_dim: width of the hidden layers of projector and predictor.
            output_dim: dimension of the projections.
        """
        super().__init__()
        self.momentum = momentum
        self.projector = BYOLProjectionHead(embedding_dim, hidden_dim, output_dim)
        self.predictor = BYOLPredictionHead(output_dim, hidden_dim, output_dim)
        self.loss = NegativeCosineSimilarity()

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Add up 2 - 2 cos of both directions: from 0 to 8; see `Objective.forward`."""
        one, two = (self.predictor(self.projector(backbone(view))).float() for view in batch.views)
        first, second = (self.target(view).float() for view in batch.views)
        loss: Tensor = 4 + 2 * (self.loss(one, second) + self.loss(two, first))
        return loss
