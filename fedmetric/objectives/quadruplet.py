"""The quadruplet loss.

Chen, Chen, Zhang, Huang, Beyond Triplet Loss: A Deep Quadruplet Network for Person Re-Identification, CVPR 2017,
with the adaptive margins of its online hard negative mining as an option: max(0, d(a, p)^2 - d(a, n1)^2 + m1) + max(0,
d(a, p)^2 - d(n1, n2)^2 + m2).

Differences: batch-hard quadruplets (see the miner), the mean over anchors instead of the sum over quadruplets, and the
first pair of the second negative is the first negative, so that both terms share it. Adaptive margins are clamped at 0
and no gradient passes through them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmetric.miners.base import Indices
from fedmetric.networks.quadruplet import QuadrupletNetwork
from fedmetric.objectives.pairs import PairObjective
from fedmetric.options import DistanceChoice, NonNegative, QuadrupletMiner, chosen_miner
from fedmetric.registry import miners, objectives


@objectives.register("quadruplet")
class Quadruplet(PairObjective):
    """Keep positive pairs closer than pairs of other classes, whether or not these share the anchor.

    A batch needs images of three classes; with fewer the loss is 0. Not decomposable: every term sees four images.
    """

    needs_labels = True
    min_classes = 3

    def __init__(
        self,
        embedding_dim: int,
        *,
        margins: Literal["fixed", "adaptive"] = "fixed",
        first_margin: NonNegative = 1.0,
        second_margin: NonNegative = 0.5,
        miner: QuadrupletMiner = "quadruplet",
        distance: DistanceChoice = "euclidean",
    ) -> None:
        """Set the margins.

        Args:
            embedding_dim: D of the backbone.
            margins: "fixed", or "adaptive": the numbers below times by how much the mean squared distance of the
                batch's negative pairs exceeds that of its positive pairs.
            first_margin: between positive pairs and pairs of the anchor with a negative, in squared distance.
            second_margin: between positive pairs and pairs of two negatives.
            miner: a miner of quadruplets, or a table of its name and options.
            distance: of the loss, of the miner and of the evaluation ('fedmetric list distances'), or a table.
        """
        super().__init__(embedding_dim, distance)
        self.miner = miners.build(chosen_miner(miner, "quadruplets"), self.distance)
        self.adaptive = margins == "adaptive"
        self.margins = first_margin, second_margin

    def compare(self, embeddings: Tensor, labels: Tensor, num_views: int = 1) -> Tensor:
        """Mine quadruplets and average their terms; 0 where there is none; see `PairObjective.compare`."""
        mined: Indices = self.miner(embeddings, labels)
        if len(mined[0]) == 0:
            return (embeddings * 0).sum()
        scale = mean_gap(self.distance(embeddings, embeddings).detach().square(), labels) if self.adaptive else 1.0
        first, second = (margin * scale for margin in self.margins)
        # the rows are embedded already: the network's branches are rows of the one pass over the batch
        network = QuadrupletNetwork(nn.Identity(), self.distance)
        near, far, apart = (found.square() for found in network(*(embeddings[rows] for rows in mined)))
        return (functional.relu(near - far + first) + functional.relu(near - apart + second)).mean()


def mean_gap(values: Tensor, labels: Tensor) -> Tensor:
    """Return by how much negative pairs exceed positive pairs on average, a scalar of at least 0.

    Args:
        values: (B, B) float of all pairs.
        labels: (B,) int64 with at least one pair of either kind.
    """
    same = labels.unsqueeze(1) == labels
    positive = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    return (values[~same].mean() - values[positive].mean()).clamp(min=0)
