"""A learned Mahalanobis distance of low rank: |L x - L y|, that is sqrt((x - y)' L'L (x - y)).

Weinberger, Saul, Distance Metric Learning for Large Margin Nearest Neighbor Classification, Journal of Machine Learning
Research 10, 2009, with M = L'L; L is trained by any pair objective, together with the backbone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmetric.distances.base import PairDistance, euclidean
from fedmetric.options import Count
from fedmetric.registry import distances


@distances.register("mahalanobis")
class Mahalanobis(PairDistance):
    """Take the Euclidean distance after a learned linear map of the unit vectors.

    It starts as the Euclidean distance where the rank is at least D, else as that of a random projection. Two different
    embeddings that the map does not tell apart have distance 0.
    """

    learned = True
    geometry = "euclidean"

    def __init__(self, embedding_dim: int, *, rank: Count = 64) -> None:
        """Start with orthonormal rows, or columns where there are more rows than columns.

        Args:
            embedding_dim: D.
            rank: rows of L, the dimension in which distances are Euclidean.
        """
        super().__init__(embedding_dim)
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(rank, embedding_dim)))

    def compare(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Return |L q - L g|; see `PairDistance.compare`."""
        weight = self.weight.to(queries.dtype)
        return euclidean(functional.linear(queries, weight), functional.linear(gallery, weight))

    def place(self, embeddings: Tensor) -> Tensor:
        """Return L x of the unit vectors; see `PairDistance.place`."""
        return functional.linear(super().place(embeddings), self.weight.to(embeddings.dtype))
