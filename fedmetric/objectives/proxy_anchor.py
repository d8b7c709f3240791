"""Proxy-Anchor.

Kim, Kim, Cho, Kwak, Proxy Anchor Loss for Deep Metric Learning, CVPR 2020, equation 4: every proxy is an anchor that
weighs the images of its class and of the others by how hard they are.
"""

from __future__ import annotations

from pytorch_metric_learning.losses import ProxyAnchorLoss

from fedmetric.objectives.proxies import ProxyObjective
from fedmetric.options import NonNegative, Positive
from fedmetric.registry import objectives


@objectives.register("proxy-anchor")
class ProxyAnchor(ProxyObjective):
    """Let every proxy pull its class and push the others, harder images more."""

    num_views = 1
    needs_labels = True
    needs_classes = True
    decomposable = False
    groups = ("proxies",)
    private = ("proxies",)
    min_batch = 1
    min_classes = 2

    def __init__(
        self, embedding_dim: int, num_classes: int, *, margin: NonNegative = 0.1, scale: Positive = 32.0
    ) -> None:
        """Build the loss of pytorch-metric-learning.

        Args:
            embedding_dim: D of the backbone.
            num_classes: of the client, K.
            margin: delta of equation 4, a cosine.
            scale: alpha of equation 4.
        """
        super().__init__(
            ProxyAnchorLoss(num_classes, embedding_dim, margin=margin, alpha=scale), "proxies", num_classes
        )
