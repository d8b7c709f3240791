"""How far two embeddings are apart: the same distance serves the loss, the miner and the evaluator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Geometry = Literal["cosine", "euclidean"]
"""How two vectors compare: by the angle between them, or by the length of their difference."""


class PairDistance(nn.Module, ABC):
    """A distance between embeddings: symmetric, never negative, and 0 between equal embeddings.

    Only the direction of an embedding counts: every distance scales its arguments to unit norm first, because unit
    vectors are what a trained network gives to those who use it. Gradients are finite even where two are equal.

    Subclasses take `embedding_dim` (D), then keyword-only options, and implement `compare`; one whose distance is that
    of a simple geometry after a map says so by `geometry` and `place`, and is searched exactly then.

    Attributes:
        learned: whether it has weights that are trained with the backbone.
        geometry: of the space that `place` maps to; "" where the distance is no distance of any space.
    """

    learned: bool = False
    geometry: Geometry | Literal[""] = ""

    def __init__(self, embedding_dim: int = 0) -> None:
        """Take the dimension of embeddings, D; what is not learned needs none."""
        super().__init__()

    def forward(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Compare each query with each row of a gallery.

        Args:
            queries: (..., Q, D) float, each row of any length but 0.
            gallery: (..., G, D) float.

        Returns:
            (..., Q, G) float of the same type.
        """
        return self.compare(functional.normalize(queries, dim=-1), functional.normalize(gallery, dim=-1))

    def between(self, first: Tensor, second: Tensor) -> Tensor:
        """Compare embeddings row by row: (N, D) and (N, D) float to (N,)."""
        found: Tensor = self(first.unsqueeze(1), second.unsqueeze(1))
        return found.flatten()

    @abstractmethod
    def compare(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Compare unit vectors: (..., Q, D) and (..., G, D) float to (..., Q, G)."""

    def place(self, embeddings: Tensor) -> Tensor:
        """Map embeddings, (..., D) float of any length but 0, to where `geometry` compares them: (..., R)."""
        return functional.normalize(embeddings, dim=-1)


def euclidean(first: Tensor, second: Tensor) -> Tensor:
    """Return |x - y| of all pairs, (..., Q, R) and (..., G, R) to (..., Q, G), by differences: 0 for equal rows.

    The shorter way over the scalar product loses half of the digits where two rows are near.
    """
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
