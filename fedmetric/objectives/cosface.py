"""CosFace.

Wang, Wang, Zhou, Ji, Gong, Zhou, Li, Liu, CosFace: Large Margin Cosine Loss for Deep Face Recognition, CVPR 2018,
equation 4.
"""

from __future__ import annotations

from pytorch_metric_learning.losses import CosFaceLoss

from fedmetric.objectives.proxies import ProxyObjective
from fedmetric.options import Fraction, NonNegative, Positive
from fedmetric.registry import objectives


@objectives.register("cosface")
class CosFace(ProxyObjective):
    """Tell classes apart by the cosine to their proxy, with a margin taken off."""

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
        margin: NonNegative = 0.35,
        scale: Positive = 16.0,
        label_smoothing: Fraction = 0.0,
    ) -> None:
        """Build the loss of pytorch-metric-learning.

        Args:
            embedding_dim: D of the backbone.
            num_classes: of the client, K.
            margin: m of equation 4, a cosine.
            scale: s of equation 4; 16 to 30 on small data.
            label_smoothing: share of the target that is spread over all classes.
        """
        loss = CosFaceLoss(num_classes, embedding_dim, margin=margin, scale=scale)
        loss.cross_entropy.label_smoothing = label_smoothing
        super().__init__(loss, "W", num_classes, columns=True)
