"""Images that an audit may use: for each of them a fair coin decides whether it is trained on.

Whoever wants to know what a trained network remembers must compare images that it was trained on with others that could
as well have been. Held-out classes cannot serve: they are told apart by their class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmetric.seeds import numpy_generator


@dataclass(frozen=True)
class AuditPool:
    """The images of an audit.

    Attributes:
        rows: (M,) int64 indices of the images.
        included: (M,) bool, whether each is trained on.
        clients: (M,) int64, whose each is.
    """

    rows: NDArray[np.int64]
    included: NDArray[np.bool_]
    clients: NDArray[np.int64]

    @property
    def excluded_rows(self) -> NDArray[np.int64]:
        """Indices of the images that nobody trains on."""
        return self.rows[~self.included]


def draw_pool(parts: Sequence[NDArray[np.int64]], share: float, seed: int) -> AuditPool:
    """Draw a share of each client's images, and a coin for each of them.

    Args:
        parts: the indices of each client's images.
        share: of them, from 0 to 1.
        seed: of the experiment.
    """
    rows, included, clients = [np.zeros(0, np.int64)], [np.zeros(0, bool)], [np.zeros(0, np.int64)]
    for client, part in enumerate(parts):
        generator = numpy_generator(seed, "images of an audit", client=client)
        drawn = np.sort(generator.choice(part, round(share * len(part)), replace=False))
        rows.append(drawn.astype(np.int64))
        included.append(generator.random(len(drawn)) < 0.5)
        clients.append(np.full(len(drawn), client, np.int64))
    return AuditPool(np.concatenate(rows), np.concatenate(included), np.concatenate(clients))
