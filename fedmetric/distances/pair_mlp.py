"""A small network that looks at both embeddings at once: |x - y| times a positive factor that it learns.

Han, Leung, Jia, Sukthankar, Berg, MatchNet: Unifying Feature and Metric Learning for Patch-Based Matching, CVPR 2015,
section 3.1: fully connected layers over a pair of features are trained together with what extracts them.

Differences: MatchNet's layers see the two features one after the other and answer with a probability. Here they see
|x - y| and x * y, coordinate by coordinate, which do not change when x and y change places, and what they answer scales
the Euclidean distance, which makes it 0 between equals and positive elsewhere. The triangle inequality need not hold.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmetric.distances.base import PairDistance
from fedmetric.options import Count
from fedmetric.registry import distances

ONE = math.log(math.e - 1)
"""Where softplus is 1."""


@distances.register("pair-mlp")
class PairMLP(PairDistance):
    """Scale the Euclidean distance of the unit vectors by a learned function of the pair; starts as Euclidean.

    No map of the embeddings alone gives this distance, so a search compares all pairs: memory is of the order of
    Q x G x D.
    """

    learned = True

    def __init__(self, embedding_dim: int, *, hidden: Count = 32) -> None:
        """Build one hidden layer.

        Args:
            embedding_dim: D.
            hidden: width of the hidden layer.
        """
        super().__init__(embedding_dim)
        self.hidden = nn.Linear(2 * embedding_dim, hidden)
        self.factor = nn.Linear(hidden, 1)
        nn.init.zeros_(self.factor.weight)
        nn.init.constant_(self.factor.bias, ONE)

    def compare(self, queries: Tensor, gallery: Tensor) -> Tensor:
        """Return |q - g| softplus(f(|q - g|, q g)); see `PairDistance.compare`."""
        first, second = queries.unsqueeze(-2), gallery.unsqueeze(-3)
        apart = first - second
        seen = torch.cat([apart.abs(), first * second], dim=-1)
        factor = _linear(self.factor, functional.relu(_linear(self.hidden, seen))).squeeze(-1)
        length: Tensor = torch.linalg.vector_norm(apart, dim=-1)
        return length * functional.softplus(factor)


def _linear(layer: nn.Linear, given: Tensor) -> Tensor:
    return functional.linear(given, layer.weight.to(given.dtype), layer.bias.to(given.dtype))
