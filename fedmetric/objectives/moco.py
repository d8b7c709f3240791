"""MoCo v2.

Chen, Fan, Girshick, He, Improved Baselines with Momentum Contrastive Learning, arXiv:2003.04297, 2020; the loss and
the queue are equation 1 and algorithm 1 of He, Fan, Wu, Xie, Girshick, Momentum Contrast for Unsupervised Visual
Representation Learning, CVPR 2020, the target is its equation 2.

Differences: the target follows after the step, not before the forward pass; batches are not shuffled over devices,
since there is one; momentum 0.99 and a short queue for clients of some hundred images (the paper: 0.999 and 65,536).
"""

from __future__ import annotations

from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead
from torch import Tensor, nn

from fedmetric.objectives.base import Batch
from fedmetric.objectives.momentum import MomentumObjective
from fedmetric.objectives.queue import check_queue, make_persistent
from fedmetric.options import Count, Fraction, Positive
from fedmetric.registry import objectives


@objectives.register("moco")
class MoCo(MomentumObjective):
    """Tell the target's view of an image from a queue of the target's past views (MoCo v2).

    Not decomposable: the negatives are other images.
    """

    groups = ("projector", "queue", "target")
    private = ("queue",)
    target_policy = "reset"
    min_batch = 1

    def __init__(
        self, embedding_dim: int, *, temperature: Positive = 0.2, momentum: Fraction = 0.99, queue_size: Count = 256,
        hidden_dim: Count = 256, output_dim: Count = 128,
    ) -> None:  # fmt: skip
        """Build the projector and the loss of lightly, whose memory bank is the queue.

        Args:
            embedding_dim: D of the backbone.
            temperature: T of equation 1; smaller weighs near negatives more.
            momentum: share of the target that stays in every step; 0 makes it the online network.
            queue_size: negatives that every image is compared with, at most the images of the smallest client.
            hidden_dim: width of the projector's hidden layer.
            output_dim: dimension that the loss compares.
        """
        super().__init__()
        self.momentum, self.queue_size = momentum, queue_size
        self.projector = MoCoProjectionHead(embedding_dim, hidden_dim, output_dim)
        self.queue = NTXentLoss(temperature=temperature, memory_bank_size=(queue_size, output_dim))
        make_persistent(self.queue.memory_bank)

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Compare the first view's query with the second view's key, which joins the queue; see `Objective.forward`."""
        query, key = self.projector(backbone(batch.views[0])), self.target(batch.views[1])
        loss: Tensor = self.queue(query.float(), key.float())
        return loss

    def check_client(self, client: int, num_images: int, batch_size: int) -> None:
        """Refuse a queue longer than the client's images; see `Objective.check_client`."""
        super().check_client(client, num_images, batch_size)
        check_queue(self.queue_size, client, num_images)
