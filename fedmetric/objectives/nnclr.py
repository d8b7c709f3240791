"""NNCLR.

Dwibedi, Aytar, Tompson, Sermanet, Zisserman, With a Little Help from My Friends: Nearest-Neighbor Contrastive Learning
of Visual Representations, ICCV 2021, equations 3 and 4, with the predictor and both directions of its pseudo-code.

Differences: a queue as short as a client is small (the paper: 98,304). lightly's NT-Xent would compare neighbours with
neighbours too, which equation 3 does not: the loss is written out here.
"""

from __future__ import annotations

import torch
from lightly.models.modules import NNCLRPredictionHead, NNCLRProjectionHead, NNMemoryBankModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from fedmetric.objectives.base import Batch, Objective
from fedmetric.objectives.queue import check_queue, make_persistent
from fedmetric.options import Count, Positive
from fedmetric.registry import objectives


def contrast(neighbours: Tensor, predictions: Tensor, temperature: float) -> Tensor:
    """Return equation 3: the mean cross-entropy of finding neighbour i's own prediction among all B.

    Args:
        neighbours: (B, D) float.
        predictions: (B, D) float; row i is of the other view of the image whose neighbour is row i.
        temperature: T.
    """
    logits = normalize(neighbours, dim=1) @ normalize(predictions, dim=1).T / temperature
    return cross_entropy(logits, torch.arange(len(logits), device=logits.device))


@objectives.register("nnclr")
class NNCLR(Objective):
    """Tell the view of an image whose nearest past neighbour is given from the views of other images.

    Not decomposable: neighbours and negatives are other images.
    """

    groups = ("projector", "predictor", "queue")
    private = ("queue",)

    def __init__(
        self, embedding_dim: int, *, temperature: Positive = 0.1, queue_size: Count = 256, hidden_dim: Count = 256,
        output_dim: Count = 128,
    ) -> None:  # fmt: skip
        """Build lightly's heads and its memory bank.

        Args:
            embedding_dim: D of the backbone.
            temperature: T of equation 3; smaller weighs near negatives more.
            queue_size: past projections among which neighbours are sought, at most the smallest client's images.
            hidden_dim: width of the hidden layers of projector and predictor.
            output_dim: dimension that the loss compares.
        """
        super().__init__()
        self.temperature, self.queue_size = temperature, queue_size
        self.projector = NNCLRProjectionHead(embedding_dim, hidden_dim, output_dim)
        self.predictor = NNCLRPredictionHead(output_dim, hidden_dim, output_dim)
        self.queue = NNMemoryBankModule(size=(queue_size, output_dim))
        make_persistent(self.queue)

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Average both directions; the first view's projections join the queue; see `Objective.forward`."""
        first, second = (self.projector(backbone(view)) for view in batch.views)
        one, two = self.predictor(first).float(), self.predictor(second).float()
        second = self.queue(normalize(second.detach().float(), dim=1), update=False)
        first = self.queue(normalize(first.detach().float(), dim=1), update=one.requires_grad)
        return 0.5 * (contrast(first, two, self.temperature) + contrast(second, one, self.temperature))

    def check_client(self, client: int, num_images: int, batch_size: int) -> None:
        """Refuse a queue longer than the client's images; see `Objective.check_client`."""
        super().check_client(client, num_images, batch_size)
        check_queue(self.queue_size, client, num_images)
