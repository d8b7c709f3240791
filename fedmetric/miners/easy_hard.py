"""Easy positives with hard or semi-hard negatives.

Xuan, Stylianou, Pless, Improved Embeddings with Easy Positive Triplet Mining, WACV 2020, section 3.
"""

from __future__ import annotations

from typing import Literal

from pytorch_metric_learning.miners import BatchEasyHardMiner

from fedmetric.distances.base import PairDistance
from fedmetric.distances.library import LibraryDistance
from fedmetric.miners.base import Miner
from fedmetric.registry import miners


@miners.register("easy-hard")
def easy_hard(distance: PairDistance, *, negatives: Literal["hard", "semihard"] = "semihard") -> Miner:
    """Take the nearest positive of every anchor and its nearest negative.

    Args:
        distance: of the loss.
        negatives: "hard" takes the nearest negative, "semihard" the nearest of those farther than the positive.
    """
    library = LibraryDistance(distance)
    found: Miner = BatchEasyHardMiner(pos_strategy="easy", neg_strategy=negatives, distance=library)
    return found
