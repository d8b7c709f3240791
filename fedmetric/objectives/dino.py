"""DINO.

Caron, Touvron, Misra, Jégou, Mairal, Bojanowski, Joulin, Emerging Properties in Self-Supervised Vision Transformers,
ICCV 2021, equations 1 to 4.

Differences: two views of full size and no smaller ones; the teacher's momentum and temperature are constant; the last
layer is trained from the first step; the cross-entropies of equation 3 are averaged. The centre is a running mean of a
client's own images: it stays there.
"""

from __future__ import annotations

import warnings
from typing import cast

import torch
from lightly.loss import DINOLoss
from lightly.models.modules import DINOProjectionHead
from torch import Tensor, nn
from torch.nn.utils import parametrizations, remove_weight_norm

from fedmetric.objectives.base import Batch
from fedmetric.objectives.momentum import MomentumObjective
from fedmetric.options import Count, Fraction, Positive
from fedmetric.registry import objectives


def projection_head(embedding_dim: int, hidden_dim: int, bottleneck_dim: int, output_dim: int) -> nn.Module:
    """Build lightly's head; its old-style weight norm cannot be copied into a target, the parametrisation can."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        head = DINOProjectionHead(embedding_dim, hidden_dim, bottleneck_dim, output_dim)
    head.last_layer = parametrizations.weight_norm(remove_weight_norm(head.last_layer))
    lengths = head.last_layer.parametrizations.weight.original0
    lengths.data.fill_(1)
    lengths.requires_grad_(False)
    return cast(nn.Module, head)


@objectives.register("dino")
class DINO(MomentumObjective):
    """Match a sharpened, centred teacher's distribution over prototypes for the other view.

    Not decomposable: the centre is a mean over images.
    """

    groups = ("projector", "centre", "target")
    private = ("centre",)
    target_policy = "local"
    min_batch = 1

    def __init__(
        self, embedding_dim: int, *, student_temperature: Positive = 0.1, teacher_temperature: Positive = 0.04,
        momentum: Fraction = 0.99, centre_momentum: Fraction = 0.9, hidden_dim: Count = 256, bottleneck_dim: Count = 64,
        output_dim: Count = 256,
    ) -> None:  # fmt: skip
        """Build the head and the loss of lightly; the loss holds the centre.

        Args:
            embedding_dim: D of the backbone.
            student_temperature: T_s of equation 1.
            teacher_temperature: T_t, below T_s: sharpening works against a uniform collapse.
            momentum: share of the teacher that stays in every step.
            centre_momentum: m of equation 4, share of the centre that stays in every step.
            hidden_dim: width of the projector's two hidden layers.
            bottleneck_dim: width of the unit vectors before the last layer.
            output_dim: number of prototypes.
        """
        super().__init__()
        self.momentum = momentum
        self.projector = projection_head(embedding_dim, hidden_dim, bottleneck_dim, output_dim)
        self.centre = DINOLoss(
            output_dim,
            teacher_temp=teacher_temperature,
            student_temp=student_temperature,
            center_momentum=centre_momentum,
        )

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Average both directions, then move the centre; see `Objective.forward`."""
        images = torch.cat(batch.views)
        student, teacher = self.projector(backbone(images)).float(), self.target(images).float()
        loss: Tensor = self.centre(list(teacher.chunk(2)), list(student.chunk(2)))
        return loss
