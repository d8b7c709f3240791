"""Circle loss.

Sun, Cheng, Zhang, Zhang, Zheng, Wang, Wei, Circle Loss: A Unified Perspective of Pair Similarity Optimization, CVPR
2020, equation 6 with the margins of section 3.3.

Difference: one term for each anchor with a positive and a negative, averaged over these, as in pytorch-metric-learning.
"""

from __future__ import annotations

from pytorch_metric_learning.losses import CircleLoss

from fedmetric.objectives.pairs import MinedObjective
from fedmetric.options import Fraction, PairMiner, Positive, Whole
from fedmetric.registry import objectives


@objectives.register("circle")
class Circle(MinedObjective):
    """Weigh every cosine by how far it is from its optimum, so that the border between the classes is a circle.

    The loss is of cosines, and so are its miner and the evaluation. Not decomposable: an anchor's term sees all its
    pairs.
    """

    needs_labels = True

    def __init__(
        self, embedding_dim: int, *, margin: Fraction = 0.4, gamma: Positive = 80.0, miner: PairMiner = "all",
        memory: Whole = 0,
    ) -> None:  # fmt: skip
        """Build the loss of pytorch-metric-learning.

        Args:
            embedding_dim: D of the backbone.
            margin: m, the radius of the border; smaller is stricter.
            gamma: scale of the similarities.
            miner: a miner of pairs or triplets ('fedmetric list miners'), or a table of its name and options.
            memory: embeddings of the round's earlier batches that a batch is compared with too; 0 for none.
        """
        super().__init__(embedding_dim, "cosine", miner, memory)
        self.loss = CircleLoss(m=margin, gamma=gamma)
