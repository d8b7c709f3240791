"""ArcFace.

Deng, Guo, Xue, Zafeiriou, ArcFace: Additive Angular Margin Loss for Deep Face Recognition, CVPR 2019, equation 3.
"""

from __future__ import annotations

from pytorch_metric_learning.losses import ArcFaceLoss

from fedmetric.objectives.proxies import ProxyObjective
from fedmetric.options import Fraction, NonNegative, Positive
from fedmetric.registry import objectives


@objectives.register("arcface")
class ArcFace(ProxyObjective):
    """Tell classes apart by the angle to their proxy, with an added angular margin."""

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
        margin: NonNegative = 28.6,
        scale: Positive = 16.0,
        label_smoothing: Fraction = 0.0,
    ) -> None:
        """Build the loss of pytorch-metric-learning.

        Args:
            embedding_dim: D of the backbone.
            num_classes: of the client, K.
            margin: m of equation 3, degrees.
            scale: s of equation 3; 16 to 30 on small data.
            label_smoothing: share of the target that is spread over all classes.
        """
        loss = ArcFaceLoss(num_classes, embedding_dim, margin=margin, scale=scale)
        loss.cross_entropy.label_smoothing = label_smoothing
        super().__init__(loss, "W", num_classes, columns=True)
