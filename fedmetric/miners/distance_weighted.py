"""Distance-weighted sampling of negatives.

Wu, Manmatha, Smola, Krähenbühl, Sampling Matters in Deep Embedding Learning, ICCV 2017, section 4: a negative is drawn
with probability inverse to the density of its distance on the unit sphere, so that all distances are equally likely.

The density is that of Euclidean distance between unit vectors, so this is what is measured, whatever the loss's
distance. Draws come from torch's own generator, which the training loop seeds at every step.
"""

from __future__ import annotations

from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.miners import DistanceWeightedMiner

from fedmetric.distances.base import PairDistance
from fedmetric.miners.base import Miner
from fedmetric.options import Positive
from fedmetric.registry import miners


@miners.register("distance-weighted")
def distance_weighted(distance: PairDistance, *, cutoff: Positive = 0.5, nonzero_loss_cutoff: Positive = 1.4) -> Miner:
    """Draw negatives evenly over distances; up to n^2 triplets for a class of n images.

    Args:
        distance: of the loss; not used, since the density holds for Euclidean distance only.
        cutoff: smaller distances count as this one, so that a few near negatives do not get all the weight.
        nonzero_loss_cutoff: negatives farther than this are not drawn.
    """
    library = LpDistance(normalize_embeddings=True, p=2, power=1)
    found: Miner = DistanceWeightedMiner(cutoff=cutoff, nonzero_loss_cutoff=nonzero_loss_cutoff, distance=library)
    return found
