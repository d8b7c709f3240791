"""Quantity skew: clients of very different size, each an IID sample.

Li, Diao, Chen, He, Federated Learning on Non-IID Data Silos: An Experimental Study, ICDE 2022, section IV-C.
Difference: the minimum is given to every client first, and only the rest is divided by the drawn shares, so one draw is
always enough.
"""

from __future__ import annotations

import numpy as np

from fedmetric.data.base import ImageSet
from fedmetric.data.partitions.base import Indices, Partitioner
from fedmetric.errors import ConfigError
from fedmetric.options import Count, Positive, Whole
from fedmetric.registry import partitioners


@partitioners.register("quantity-skew")
class QuantitySkew(Partitioner):
    """Shuffle the images and give the clients shares drawn from Dirichlet(alpha)."""

    def __init__(self, *, clients: Count = 10, alpha: Positive = 0.5, minimum: Whole = 2) -> None:
        """Set the skew.

        Args:
            clients: how many clients share the images.
            alpha: towards 0 one client has almost everything; towards infinity all have equally many (`iid`).
            minimum: images every client has before the rest is divided.
        """
        self.clients = clients
        self.alpha = alpha
        self.minimum = minimum

    def __call__(self, images: ImageSet, generator: np.random.Generator) -> list[Indices]:
        """Draw sizes and deal out shuffled images; see `Partitioner.__call__`."""
        spare = len(images) - self.clients * self.minimum
        if spare < 0:
            raise ConfigError(
                f"partition.clients x minimum = {self.clients} x {self.minimum}, but there are {len(images)} images; "
                "lower clients or minimum"
            )
        shares = generator.dirichlet(np.full(self.clients, self.alpha))
        if not np.isfinite(shares).all():  # a tiny alpha underflows: its limit is one client
            shares = np.eye(self.clients)[generator.integers(self.clients)]
        cuts = np.round(np.cumsum(shares)[:-1] * spare).astype(np.int64)
        cuts += self.minimum * np.arange(1, self.clients)
        return [np.sort(part).astype(np.int64) for part in np.split(generator.permutation(len(images)), cuts)]
