"""SwAV.

Caron, Misra, Mairal, Goyal, Bojanowski, Joulin, Unsupervised Learning of Visual Features by Contrasting Cluster
Assignments, NeurIPS 2020, equations 1 to 5.

Differences: two views of full size and no smaller ones; no queue of features; the prototypes are trained from the first
step; the two directions of equation 1 are averaged, as in the authors' code. The prototypes are shared weights: the
mean of unit vectors is shorter than 1, so they are brought back to length 1 before every forward pass. lightly's layer
of prototypes has a bias, the paper's has none: it is taken out.
"""

from __future__ import annotations

import torch
from lightly.loss import SwaVLoss
from lightly.models.modules import SwaVProjectionHead, SwaVPrototypes
from torch import Tensor, nn
from torch.nn.functional import normalize

from fedmetric.objectives.base import Batch, Objective
from fedmetric.options import Count, Positive
from fedmetric.registry import objectives


@objectives.register("swav")
class SwAV(Objective):
    """Predict the balanced cluster assignment of one view from the other (swapped prediction).

    Not decomposable: the assignments are balanced over the batch.
    """

    groups = ("projector", "prototypes")

    def __init__(
        self, embedding_dim: int, *, temperature: Positive = 0.1, epsilon: Positive = 0.05, iterations: Count = 3,
        num_prototypes: Count = 128, hidden_dim: Count = 256, output_dim: Count = 128,
    ) -> None:  # fmt: skip
        """Build the heads and the loss of lightly.

        Args:
            embedding_dim: D of the backbone.
            temperature: T of equation 2; smaller makes predictions harder.
            epsilon: entropy weight of the Sinkhorn assignment of equation 3; smaller makes assignments harder.
            iterations: rounds of Sinkhorn normalisation.
            num_prototypes: clusters, some times the classes of all clients together.
            hidden_dim: width of the projector's hidden layer.
            output_dim: dimension of the prototypes.
        """
        super().__init__()
        self.projector = SwaVProjectionHead(embedding_dim, hidden_dim, output_dim)
        self.prototypes = SwaVPrototypes(output_dim, num_prototypes)
        self.prototypes.heads[0].bias = None
        self.loss = SwaVLoss(temperature=temperature, sinkhorn_iterations=iterations, sinkhorn_epsilon=epsilon)

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Compare both views, in one pass, with unit prototypes; see `Objective.forward`."""
        with torch.no_grad():
            self.prototypes.normalize()
        projections = normalize(self.projector(backbone(torch.cat(batch.views))).float(), dim=1)
        loss: Tensor = self.loss(list(self.prototypes(projections).chunk(2)), [])
        return loss.squeeze()
