"""The contrastive loss of pairs.

Hadsell, Chopra, LeCun, Dimensionality Reduction by Learning an Invariant Mapping, CVPR 2006, equation 4: positive pairs
attract, negative pairs repel each other within a margin.

Differences: distances are not squared, positive pairs may have a margin too, and each kind of pair is averaged over
those that pay anything, both as in pytorch-metric-learning.
"""

from __future__ import annotations

from pytorch_metric_learning.losses import ContrastiveLoss

from fedmetric.distances.library import LibraryDistance
from fedmetric.objectives.pairs import MinedObjective
from fedmetric.options import DistanceChoice, NonNegative, PairMiner, Positive, Whole
from fedmetric.registry import objectives


@objectives.register("contrastive")
class Contrastive(MinedObjective):
    """Pull pairs of a class together and push other pairs apart, each up to a margin.

    Not decomposable: every term sees two images.
    """

    needs_labels = True

    def __init__(
        self,
        embedding_dim: int,
        *,
        positive_margin: NonNegative = 0.0,
        negative_margin: Positive = 1.0,
        miner: PairMiner = "all",
        memory: Whole = 0,
        distance: DistanceChoice = "euclidean",
    ) -> None:
        """Build the loss of pytorch-metric-learning.

        Args:
            embedding_dim: D of the backbone.
            positive_margin: distance up to which a positive pair pays nothing.
            negative_margin: distance from which a negative pair pays nothing.
            miner: a miner of pairs or triplets ('fedmetric list miners'), or a table of its name and options.
            memory: embeddings of the round's earlier batches that a batch is compared with too; 0 for none.
            distance: of the loss, of the miner and of the evaluation ('fedmetric list distances'), or a table.
        """
        super().__init__(embedding_dim, distance, miner, memory)
        library = LibraryDistance(self.distance)
        self.loss = ContrastiveLoss(pos_margin=positive_margin, neg_margin=negative_margin, distance=library)
