"""NormSoftmax.

Zhai, Wu, Classification is a Strong Baseline for Deep Metric Learning, BMVC 2019, equation 4.

Differences: no layer norm and no class-balanced sampling by itself; see `local.sampler`.
"""

from __future__ import annotations

from pytorch_metric_learning.losses import NormalizedSoftmaxLoss

from fedmetric.objectives.proxies import ProxyObjective
from fedmetric.options import Fraction, Positive
from fedmetric.registry import objectives


@objectives.register("norm-softmax")
class NormSoftmax(ProxyObjective):
    """Classify by a softmax over the cosines to the client's proxies."""

    num_views = 1
    needs_labels = True
    needs_classes = True
    decomposable = True
    groups = ("proxies",)
    private = ("proxies",)
    min_batch = 1
    min_classes = 2

    def __init__(
        self, embedding_dim: int, num_classes: int, *, temperature: Positive = 0.05, label_smoothing: Fraction = 0.0
    ) -> None:
        """Build the loss of pytorch-metric-learning.

        Args:
            embedding_dim: D of the backbone.
            num_classes: of the client, K.
            temperature: sigma of equation 4.
            label_smoothing: share of the target that is spread over all classes.
        """
        loss = NormalizedSoftmaxLoss(num_classes, embedding_dim, temperature=temperature)
        loss.cross_entropy.label_smoothing = label_smoothing
        super().__init__(loss, "W", num_classes, columns=True)
