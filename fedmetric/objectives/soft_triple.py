"""SoftTriple.

Qian, Shang, Sun, Hu, Li, Jin, SoftTriple Loss: Deep Metric Learning Without Triplet Sampling, ICCV 2019, equations 7
and 8: several centres for each class, the nearest counting most.

Differences: without the regulariser of equation 9, which merges centres.
"""

from __future__ import annotations

from pytorch_metric_learning.losses import SoftTripleLoss

from fedmetric.objectives.proxies import ProxyObjective
from fedmetric.options import Count, NonNegative, Positive
from fedmetric.registry import objectives


@objectives.register("soft-triple")
class SoftTriple(ProxyObjective):
    """Compare images with several centres of each class, the nearest of them counting most."""

    num_views = 1
    needs_labels = True
    needs_classes = True
    decomposable = True
    groups = ("proxies",)
    private = ("proxies",)
    min_batch = 1
    min_classes = 2

    def __init__(
        self,
        embedding_dim: int,
        num_classes: int,
        *,
        centres: Count = 10,
        scale: Positive = 20.0,
        gamma: Positive = 0.1,
        margin: NonNegative = 0.01,
    ) -> None:
        """Build the loss of pytorch-metric-learning.

        Args:
            embedding_dim: D of the backbone.
            num_classes: of the client, K.
            centres: of a class, M.
            scale: lambda of equation 8.
            gamma: softness of the choice among the centres of a class; smaller is nearer to the maximum.
            margin: delta of equation 8, a cosine.
        """
        loss = SoftTripleLoss(
            num_classes, embedding_dim, centers_per_class=centres, la=scale, gamma=gamma, margin=margin
        )
        super().__init__(loss, "fc", num_classes, centres, columns=True)
