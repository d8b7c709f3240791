"""The multi-similarity loss.

Wang, Han, Huang, Dong, Scott, Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning, CVPR 2019,
section 4, with its mining by default.

Difference: similarity is 1 minus the distance, which is the cosine for the default distance.
"""

from __future__ import annotations

from pytorch_metric_learning.losses import MultiSimilarityLoss

from fedmetric.distances.library import LibraryDistance
from fedmetric.objectives.pairs import MinedObjective
from fedmetric.options import DistanceChoice, PairMiner, Positive, Whole
from fedmetric.registry import objectives


@objectives.register("multi-similarity")
class MultiSimilarity(MinedObjective):
    """Weigh every pair by its own similarity and by that of the anchor's other pairs.

    Not decomposable: an anchor's term sees all its pairs.
    """

    needs_labels = True

    def __init__(
        self,
        embedding_dim: int,
        *,
        alpha: Positive = 2.0,
        beta: Positive = 50.0,
        base: float = 0.5,
        miner: PairMiner = "multi-similarity",
        memory: Whole = 0,
        distance: DistanceChoice = "cosine",
    ) -> None:
        """Build the loss of pytorch-metric-learning.

        Args:
            embedding_dim: D of the backbone.
            alpha: weighs positive pairs; larger leaves the pull to the farthest positives.
            beta: weighs negative pairs; larger leaves the push to the nearest negatives.
            base: similarity that positives are pulled above and negatives pushed below, the paper's lambda.
            miner: a miner of pairs or triplets ('fedmetric list miners'), or a table of its name and options.
            memory: embeddings of the round's earlier batches that a batch is compared with too; 0 for none.
            distance: of the loss, of the miner and of the evaluation ('fedmetric list distances'), or a table.
        """
        super().__init__(embedding_dim, distance, miner, memory)
        library = LibraryDistance(self.distance)
        # the library compares distances with the base too: s - base = (1 - base) - d
        self.loss = MultiSimilarityLoss(alpha=alpha, beta=beta, base=1 - base, distance=library)
