"""Positives only: what a client can minimise that holds one class.

Yu, Rawat, Menon, Kumar, Federated Learning with Only Positive Labels, ICML 2020, section 3.2: the squared hinge of the
cosine between an image and the embedding of its class. By itself it is minimised by one point for all classes; rule
`fedaws` keeps the classes apart at the server.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmetric.objectives.proxies import ProxyObjective
from fedmetric.options import Fraction
from fedmetric.registry import objectives


class PositiveHinge(nn.Module):
    """The mean over images of max(0, margin - cos(x, w_y))^2."""

    def __init__(self, num_classes: int, embedding_dim: int, margin: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_classes, embedding_dim))
        self.class_weights = torch.ones(num_classes)
        self.margin = margin

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the scalar loss of (B, D) embeddings and (B,) labels."""
        cosines = functional.cosine_similarity(embeddings, self.weight[labels], dim=1)
        weights = self.class_weights.to(cosines)[labels]
        return (weights * functional.relu(self.margin - cosines).square()).mean()


@objectives.register("positive-cosine")
class PositiveCosine(ProxyObjective):
    """Draw images to the proxy of their class and push nothing: for one class at a client, under rule `fedaws`."""

    num_views = 1
    needs_labels = True
    needs_classes = True
    decomposable = True
    groups = ("proxies",)
    private = ("proxies",)
    min_batch = 1
    min_classes = 1

    def __init__(self, embedding_dim: int, num_classes: int, *, margin: Fraction = 0.9) -> None:
        """Build the loss.

        Args:
            embedding_dim: D of the backbone.
            num_classes: of the client, K.
            margin: cosine from which an image is near enough.
        """
        super().__init__(PositiveHinge(num_classes, embedding_dim, margin), "weight", num_classes)

    def weigh(self, weights: Tensor) -> None:
        """Weigh by class in the mean over images; see `Objective.weigh`."""
        assert isinstance(self.proxies, PositiveHinge)
        self.proxies.class_weights = weights
