"""Batch-hard mining.

Hermans, Beyer, Leibe, In Defense of the Triplet Loss for Person Re-Identification, arXiv:1703.07737, 2017, equation 5.
"""

from __future__ import annotations

from pytorch_metric_learning.miners import BatchHardMiner

from fedmetric.distances.base import PairDistance
from fedmetric.distances.library import LibraryDistance
from fedmetric.miners.base import Miner
from fedmetric.registry import miners


@miners.register("hard")
def hard(distance: PairDistance) -> Miner:
    """Take the farthest positive and the nearest negative of every anchor that has both."""
    found: Miner = BatchHardMiner(distance=LibraryDistance(distance))
    return found
