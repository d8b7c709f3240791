"""IID: every client holds a random sample of the whole."""

from __future__ import annotations

import numpy as np

from fedmetric.data.base import ImageSet
from fedmetric.data.partitions.base import Indices, Partitioner
from fedmetric.errors import ConfigError
from fedmetric.options import Count
from fedmetric.registry import partitioners


@partitioners.register("iid")
class Iid(Partitioner):
    """Shuffle the images and deal them out in equal shares; the upper bound that other partitions are compared with."""

    def __init__(self, *, clients: Count = 10) -> None:
        """Set the number of clients.

        Args:
            clients: how many clients share the images; their sizes differ by one image at most.
        """
        self.clients = clients

    def __call__(self, images: ImageSet, generator: np.random.Generator) -> list[Indices]:
        """Deal out shuffled images; see `Partitioner.__call__`."""
        if self.clients > len(images):
            raise ConfigError(f"partition.clients = {self.clients}, but there are {len(images)} images; lower it")
        shares = np.array_split(generator.permutation(len(images)), self.clients)
        return [np.sort(share).astype(np.int64) for share in shares]
