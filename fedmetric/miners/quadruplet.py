"""Batch-hard quadruplets.

Chen, Chen, Zhang, Huang, Beyond Triplet Loss: A Deep Quadruplet Network for Person Re-Identification, CVPR 2017:
an anchor, a positive and two negatives, of three different classes.

Difference: the hardest quadruplet of each anchor is taken greedily, in two masked minima over B x B distances, where a
search through all quadruplets is of the order of B^4: the negative nearest to the anchor, then the second negative
nearest to that one. The margins of the paper belong to the loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fedmetric.distances.base import PairDistance
from fedmetric.miners.base import Indices
from fedmetric.registry import miners


@miners.register("quadruplet")
class Quadruplets:
    """Take every anchor's farthest positive, nearest negative, and the image of a third class nearest to that."""

    mines = "quadruplets"

    def __init__(self, distance: PairDistance) -> None:
        """Take the loss's distance."""
        self.distance = distance

    @torch.no_grad()
    def __call__(self, embeddings: Tensor, labels: Tensor) -> Indices:
        """Mine (B, D) float embeddings with (B,) int64 labels; see `hardest`."""
        return hardest(self.distance(embeddings, embeddings), labels)


def hardest(distances: Tensor, labels: Tensor) -> Indices:
    """Find a quadruplet for every anchor that has one, in memory of the order of B^2.

    Args:
        distances: (B, B) float, symmetric.
        labels: (B,) int64.

    Returns:
        Rows (a, p, n1, n2), (T,) int64 each, anchors ascending. None where there are fewer than three classes; a row
        whose class has no other image is no anchor. Among equals it is open which one is taken.
    """
    same = labels.unsqueeze(1) == labels
    others = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    farthest, positive = distances.masked_fill(~others, -torch.inf).max(dim=1)
    near, first = distances.masked_fill(same, torch.inf).min(dim=1)
    nearest, second = distances[first].masked_fill(same | same[first], torch.inf).min(dim=1)
    anchors = torch.nonzero((farthest > -torch.inf) & (near < torch.inf) & (nearest < torch.inf)).flatten()
    return anchors, positive[anchors], first[anchors], second[anchors]
