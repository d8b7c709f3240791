"""What all losses on pairs of a batch have in common: labelled views, one distance, and a miner with that distance."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from fedmetric.distances.base import PairDistance
from fedmetric.miners.base import Indices
from fedmetric.objectives.base import Batch, Objective
from fedmetric.objectives.cross_batch import CrossBatchMemory
from fedmetric.objectives.labelled import count_labelled, keep_labelled, zero_of
from fedmetric.options import chosen_distance, chosen_miner
from fedmetric.registry import distances, miners


class PairObjective(Objective):
    """Compare the backbone's embeddings of all views of the labelled images with one another.

    All views of an image have its label, so a class of one image has a positive pair too. There is no head: what is
    trained is the embedding itself, and the distance where it is learned, which is then the group "distance".

    Attributes:
        min_classes: fewest classes in a batch that there is something to learn from. With fewer the loss is 0, and the
            client is not weighed by the batch: pulling one class together teaches nothing but to collapse.
    """

    needs_labels = True
    min_classes = 2

    def __init__(self, embedding_dim: int, distance: Any) -> None:
        """Build the distance.

        Args:
            embedding_dim: D of the backbone.
            distance: name of a distance, or a table of a name and options.
        """
        super().__init__()
        self.distance: PairDistance = distances.build(chosen_distance(distance), embedding_dim)
        if self.distance.state_dict():
            self.groups = (*self.groups, "distance")

    def metric(self) -> PairDistance:
        """Return the distance of the loss; see `Objective.metric`."""
        return self.distance

    @abstractmethod
    def compare(self, embeddings: Tensor, labels: Tensor, num_views: int = 1) -> Tensor:
        """Return the scalar loss of embedded views.

        Args:
            embeddings: (V x B, D) float, all images in the first view, then all in the second.
            labels: (V x B,) int64, of at least `min_classes` classes.
            num_views: V.
        """

    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Embed all views of the labelled images in one pass; 0 without enough classes; see `Objective.forward`."""
        views, labels = keep_labelled(batch)
        if len(torch.unique(labels)) < self.min_classes:
            return zero_of(backbone, self)
        embeddings = backbone(torch.cat(views)).flatten(1).float()
        # where nothing is mined a learned distance still has a gradient, of 0
        return self.compare(embeddings, labels.repeat(len(views)), len(views)) + zero_of(self.distance)

    def contributing(self, batch: Batch) -> int:
        """Count the labelled images, or 0 where they are of too few classes; see `Objective.contributing`."""
        return count_labelled(batch, self.min_classes)


class MinedObjective(PairObjective):
    """A pair loss of pytorch-metric-learning, `loss`, on what a miner finds; both have the objective's distance."""

    loss: nn.Module

    def __init__(self, embedding_dim: int, distance: Any, miner: Any, memory: int = 0) -> None:
        """Build the distance and the miner.

        Args:
            embedding_dim: D of the backbone.
            distance: name of a distance, or a table of a name and options.
            miner: name of a miner of pairs or triplets, or a table of a name and options.
            memory: embeddings of earlier batches that a batch is compared with, in all pairs; 0 for none.
        """
        super().__init__(embedding_dim, distance)
        self.miner = miners.build(chosen_miner(miner), self.distance)
        self.memory = CrossBatchMemory(memory)

    def begin_round(self, round: int) -> None:
        """Empty the memory, which another network filled; see `Objective.begin_round`."""
        self.memory.clear()

    def compare(self, embeddings: Tensor, labels: Tensor, num_views: int = 1) -> Tensor:
        """Mine and take the loss, and add that of the pairs with the memory; see `PairObjective.compare`."""
        mined: Indices | None = self.miner(embeddings, labels)
        value: Tensor = self.loss(embeddings, labels, mined)
        if len(self.memory):
            value = value + self.loss(embeddings, labels, None, self.memory.embeddings, self.memory.labels)
        if self.memory.size:
            self.memory.add(embeddings, labels)
        return value
