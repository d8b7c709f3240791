"""Dirichlet: label skew with one knob.

Hsu, Qi, Brown, Measuring the Effects of Non-Identical Data Distribution for Federated Visual Classification,
arXiv:1909.06335, 2019, section 3. Difference: there each client draws its mixture of classes and all clients have
equally many images; here, as in Yurochkin et al., Bayesian Nonparametric Federated Learning of Neural Networks, ICML
2019, each class draws its shares over the clients, so that sizes differ too and every image is used.
"""

from __future__ import annotations

import numpy as np

from fedmetric.data.base import ImageSet
from fedmetric.data.partitions.base import Indices, Partitioner, gather, require_labels
from fedmetric.errors import ConfigError
from fedmetric.options import Count, Positive, Whole
from fedmetric.registry import partitioners

ATTEMPTS = 100


@partitioners.register("dirichlet")
class Dirichlet(Partitioner):
    """Divide each class among the clients in shares drawn from Dirichlet(alpha)."""

    def __init__(self, *, clients: Count = 10, alpha: Positive = 0.5, minimum: Whole = 2) -> None:
        """Set the skew.

        Args:
            clients: how many clients share the images.
            alpha: towards 0 each class goes to one client; towards infinity every client has the same mixture (IID by
                class).
            minimum: images each client must have; the draw is repeated until they do.
        """
        self.clients = clients
        self.alpha = alpha
        self.minimum = minimum

    def __call__(self, images: ImageSet, generator: np.random.Generator) -> list[Indices]:
        """Draw shares until every client has enough images; see `Partitioner.__call__`."""
        require_labels(images, "dirichlet")
        if self.clients * self.minimum <= len(images):
            for _ in range(ATTEMPTS):
                parts = self._draw(images, generator)
                if min(len(part) for part in parts) >= self.minimum:
                    return parts
        raise ConfigError(
            f"partition: no client may have fewer than minimum = {self.minimum} images, but {ATTEMPTS} draws with "
            f"clients = {self.clients} and alpha = {self.alpha} from {len(images)} images did not manage it; "
            "raise alpha, or lower minimum or clients"
        )

    def _draw(self, images: ImageSet, generator: np.random.Generator) -> list[Indices]:
        pieces: list[list[Indices]] = [[] for _ in range(self.clients)]
        for label in np.unique(images.labels):
            members = generator.permutation(np.flatnonzero(images.labels == label))
            shares = generator.dirichlet(np.full(self.clients, self.alpha))
            if not np.isfinite(shares).all():  # a tiny alpha underflows: its limit is one client
                shares = np.eye(self.clients)[generator.integers(self.clients)]
            cuts = np.round(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
            for own, piece in zip(pieces, np.split(members, cuts), strict=True):
                own.append(piece)
        return gather(pieces)
