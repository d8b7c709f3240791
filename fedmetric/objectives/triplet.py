"""The triplet loss.

Schroff, Kalenichenko, Philbin, FaceNet: A Unified Embedding for Face Recognition and Clustering, CVPR 2015, section
3.1; with a soft margin as in Hermans, Beyer, Leibe, In Defense of the Triplet Loss for Person Re-Identification,
arXiv:1703.07737, 2017, section 2.

Differences: distances are not squared, and the mean is over the triplets that pay anything, both as in
pytorch-metric-learning.
"""

from __future__ import annotations

from pytorch_metric_learning.losses import TripletMarginLoss

from fedmetric.distances.library import LibraryDistance
from fedmetric.objectives.pairs import MinedObjective
from fedmetric.options import DistanceChoice, NonNegative, PairMiner
from fedmetric.registry import objectives


@objectives.register("triplet")
class Triplet(MinedObjective):
    """Keep every anchor nearer to its positive than to its negative, by a margin.

    Not decomposable: every term sees three images.
    """

    needs_labels = True

    def __init__(
        self,
        embedding_dim: int,
        *,
        margin: NonNegative = 0.2,
        soft_margin: bool = False,
        miner: PairMiner = "hard",
        distance: DistanceChoice = "euclidean",
    ) -> None:
        """Build the loss of pytorch-metric-learning.

        Args:
            embedding_dim: D of the backbone.
            margin: by which the negative is to be farther than the positive.
            soft_margin: pay log(1 + exp(d(a, p) - d(a, n))) without a margin, which never vanishes.
            miner: a miner of pairs or triplets ('fedmetric list miners'), or a table of its name and options.
            distance: of the loss, of the miner and of the evaluation ('fedmetric list distances'), or a table.
        """
        super().__init__(embedding_dim, distance, miner)
        library = LibraryDistance(self.distance)
        margin = 0.0 if soft_margin else margin
        self.loss = TripletMarginLoss(margin=margin, smooth_loss=soft_margin, distance=library)
