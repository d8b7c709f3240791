"""Proxy-NCA++.

Teh, DeVries, Taylor, ProxyNCA++: Revisiting and Revitalizing Proxy Neighborhood Component Analysis, ECCV 2020,
equation 7: a softmax over squared distances of unit vectors, the positive proxy among them.

Differences: no global max pooling and no layer norm, which would belong to the backbone.
"""

from __future__ import annotations

from pytorch_metric_learning.losses import ProxyNCALoss

from fedmetric.objectives.proxies import ProxyObjective
from fedmetric.options import Annotated, Field
from fedmetric.registry import objectives


@objectives.register("proxy-nca")
class ProxyNCA(ProxyObjective):
    """Draw images to the proxy of their class, by a softmax over distances to all of the client's proxies."""

    num_views = 1
    needs_labels = True
    needs_classes = True
    decomposable = True
    groups = ("proxies",)
    private = ("proxies",)
    min_batch = 1
    min_classes = 2

    def __init__(
        self, embedding_dim: int, num_classes: int, *, scale: Annotated[float, Field(gt=0, le=20)] = 9.0
    ) -> None:
        """Build the loss of pytorch-metric-learning.

        Args:
            embedding_dim: D of the backbone.
            num_classes: of the client, K.
            scale: one over the temperature of equation 7. Above 20 the chance of a proxy at the far end of the sphere,
                exp(-4 scale), would vanish in single precision, and the library leaves such images out.
        """
        super().__init__(ProxyNCALoss(num_classes, embedding_dim, softmax_scale=scale), "proxies", num_classes)
