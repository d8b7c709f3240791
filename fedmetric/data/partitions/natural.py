"""Natural: the division that the data itself has, such as one client a writer, an alphabet or a hospital."""

from __future__ import annotations

import numpy as np

from fedmetric.data.base import Grouping, ImageSet
from fedmetric.data.partitions.base import Indices, Partitioner, gather
from fedmetric.errors import ConfigError
from fedmetric.options import Whole
from fedmetric.registry import nearest, partitioners


@partitioners.register("natural")
class Natural(Partitioner):
    """Give each group of the data set to one client, or several groups to each of a few."""

    def __init__(self, *, by: str = "", clients: Whole = 0) -> None:
        """Choose the grouping.

        Args:
            by: name of the grouping, such as "alphabet" or "drawer"; empty takes the data set's first.
            clients: merge the groups at random into this many clients, of nearly equal numbers of groups; 0 keeps one
                client a group, in the order of their names.
        """
        self.by = by
        self.clients = clients

    def __call__(self, images: ImageSet, generator: np.random.Generator) -> list[Indices]:
        """Divide by group; groups without images in this set get no client; see `Partitioner.__call__`."""
        codes = self.grouping(images).codes
        groups = [np.flatnonzero(codes == code).astype(np.int64) for code in np.unique(codes)]
        if not self.clients:
            return groups
        if self.clients > len(groups):
            raise ConfigError(
                f"partition.clients = {self.clients}, but {images.name} has {len(groups)} groups; lower it, "
                "or set 0 for one client a group"
            )
        dealt = np.array_split(generator.permutation(len(groups)), self.clients)
        return gather([[groups[index] for index in own] for own in dealt])

    def grouping(self, images: ImageSet) -> Grouping:
        """Return the grouping that `by` names.

        Raises:
            ConfigError: there is none of that name, or none at all.
        """
        known = list(images.groupings)
        if not known:
            raise ConfigError(
                f"partition 'natural': {images.name} has no natural groups; use partition = 'iid' or 'dirichlet'"
            )
        name = self.by or known[0]
        if name not in images.groupings:
            raise ConfigError(
                f"partition.by = '{name}' is no grouping of {images.name}{nearest(name, known)}; "
                f"known: {', '.join(known)}"
            )
        return images.groupings[name]
