"""A small network that looks at both embeddings at once: |x - y| times a positive factor that it learns.

Han, Leung, Jia, Sukthankar, Berg, MatchNet: Unifying Feature and Metric Learning for Patch-Based Matching, CVPR 2015,
section 3.1: fully connected layers over a pair of features are trained together with what extracts them.

Differences: MatchNet's layers see the two features one after the other and answer with a probability. Here they see
|x - y| and x * y, coordinate by coordinate, which do not change when x and y change places, and what they answer scales
the Euclidean distance, which makes it 0 between equals and positive elsewhere. The triangle inequality need not hold.
"""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from fedmetric.distances.base import PairDistance, euclidean
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
        weight, bias = self.hidden.weight.to(queries.dtype), self.hidden.bias.to(queries.dtype)
        of_difference, of_product = weight.chunk(2, dim=1)
        # the product's share is w (q * g) = (w * q) g, so that only the differences are laid out for every pair
        product = (queries.unsqueeze(-2) * of_product) @ gallery.mT.unsqueeze(-3)  # (..., Q, H, G)
        apart = (queries.unsqueeze(-2) - gallery.unsqueeze(-3)).abs()  # (..., Q, G, D)
        hidden = functional.relu(functional.linear(apart, of_difference, bias) + product.mT)
        factor = hidden @ self.factor.weight[0].to(queries.dtype) + self.factor.bias.to(queries.dtype)
        return euclidean(queries, gallery) * functional.softplus(factor)
