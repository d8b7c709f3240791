"""Multi-similarity mining.

Wang, Han, Huang, Dong, Scott, Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning, CVPR 2019,
section 4, with distances for similarities: a negative pair stays if it is nearer than the anchor's farthest
positive, a positive pair if it is farther than the nearest negative, both give or take epsilon.
"""

from __future__ import annotations

from pytorch_metric_learning.miners import MultiSimilarityMiner

from fedmetric.distances.base import PairDistance
from fedmetric.distances.library import LibraryDistance
from fedmetric.miners.base import Miner
from fedmetric.options import NonNegative
from fedmetric.registry import miners


@miners.register("multi-similarity")
def multi_similarity(distance: PairDistance, *, epsilon: NonNegative = 0.1) -> Miner:
    """Take the pairs that are harder than the hardest pair of the other kind, give or take epsilon.

    Args:
        distance: of the loss.
        epsilon: added to what a pair is compared with; larger keeps more pairs.
    """
    found: Miner = MultiSimilarityMiner(epsilon=epsilon, distance=LibraryDistance(distance))
    return found
