"""Our distances in the form that pytorch-metric-learning's losses and miners want."""

from __future__ import annotations

from pytorch_metric_learning.distances import BaseDistance
from torch import Tensor

from fedmetric.distances.base import PairDistance


class LibraryDistance(BaseDistance):  # type: ignore[misc]
    """A distance of ours for the library.

    It knows the distance by its methods only and not as a child, so that a learned distance has its weights once, in
    the objective, whoever else computes with it.
    """

    def __init__(self, distance: PairDistance) -> None:
        """Wrap a distance."""
        super().__init__(normalize_embeddings=False)
        self._matrix, self._rows = distance.forward, distance.between

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """Compare (Q, D) with (G, D): (Q, G)."""
        return self._matrix(query_emb, ref_emb)

    def pairwise_distance(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """Compare (N, D) with (N, D): (N,)."""
        return self._rows(query_emb, ref_emb)
