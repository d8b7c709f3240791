"""Semi-hard triplets.

Schroff, Kalenichenko, Philbin, FaceNet: A Unified Embedding for Face Recognition and Clustering, CVPR 2015, section
3.2: d(a, p) < d(a, n) <= d(a, p) + margin.

Difference: all such triplets of the batch, where the paper takes one for each positive pair, and the distance is not
squared.
"""

from __future__ import annotations

from pytorch_metric_learning.miners import TripletMarginMiner

from fedmetric.distances.base import PairDistance
from fedmetric.distances.library import LibraryDistance
from fedmetric.miners.base import Miner
from fedmetric.options import Positive
from fedmetric.registry import miners


@miners.register("semi-hard")
def semi_hard(distance: PairDistance, *, margin: Positive = 0.2) -> Miner:
    """Take triplets whose negative is farther than the positive, but by no more than a margin.

    Args:
        distance: of the loss.
        margin: largest difference of the two distances.
    """
    library = LibraryDistance(distance)
    found: Miner = TripletMarginMiner(margin=margin, type_of_triplets="semihard", distance=library)
    return found
