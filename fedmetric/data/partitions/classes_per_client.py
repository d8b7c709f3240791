"""Classes per client: the pathological label skew of the first federated experiments.

McMahan, Moore, Ramage, Hampson, Agüera y Arcas, Communication-Efficient Learning of Deep Networks from Decentralized
Data, AISTATS 2017, section 3: sort by label, cut into shards, deal each client a few. Difference: a shard never spans
two classes, so that the number of classes is a true limit; shards are therefore of nearly, not exactly, equal size.
"""

from __future__ import annotations

import heapq

import numpy as np

from fedmetric.data.base import ImageSet
from fedmetric.data.partitions.base import Indices, Partitioner, gather, require_labels
from fedmetric.errors import ConfigError
from fedmetric.options import Count
from fedmetric.registry import partitioners


@partitioners.register("classes-per-client")
class ClassesPerClient(Partitioner):
    """Cut each class into shards and deal every client the same number of them."""

    def __init__(self, *, clients: Count = 10, classes: Count = 2) -> None:
        """Set how few classes a client sees.

        Args:
            clients: how many clients share the images.
            classes: shards for each client, hence the most classes it can have; shards are dealt at random, so two of
                one client may be of the same class. 1 gives every client a single class.
        """
        self.clients = clients
        self.classes = classes

    def __call__(self, images: ImageSet, generator: np.random.Generator) -> list[Indices]:
        """Deal out one-class shards; see `Partitioner.__call__`."""
        require_labels(images, "classes-per-client")
        present, sizes = np.unique(images.labels, return_counts=True)
        total = self.clients * self.classes
        asked = f"partition.clients x classes = {self.clients} x {self.classes} = {total} shards"
        if total < len(present):
            raise ConfigError(f"{asked}, but there are {len(present)} classes to cover; raise clients or classes")
        if total > len(images):
            raise ConfigError(f"{asked}, but there are only {len(images)} images; lower clients or classes")
        shards: list[Indices] = []
        for label, number in zip(present, shards_per_class(sizes, total), strict=True):
            members = generator.permutation(np.flatnonzero(images.labels == label))
            shards += np.array_split(members, number)
        dealt = generator.permutation(total).reshape(self.clients, self.classes)
        return gather([[shards[index] for index in own] for own in dealt])


def shards_per_class(sizes: Indices, total: int) -> list[int]:
    """Share out `total` shards, one at least to every class, each next one to the class with the most images a shard.

    Args:
        sizes: (K,) images of each class, all positive.
        total: shards in all, K <= total <= sum of sizes.

    Returns:
        Shards of each class; never more than it has images.
    """
    shards = [1] * len(sizes)
    queue = [(-int(size) / 2, index) for index, size in enumerate(sizes)]
    heapq.heapify(queue)
    for _ in range(total - len(sizes)):
        index = queue[0][1]
        shards[index] += 1
        heapq.heapreplace(queue, (-int(sizes[index]) / (shards[index] + 1), index))
    return shards
