"""The order of rows by what they hold, for methods whose result would depend on the order in which rows come."""

from __future__ import annotations

import numpy as np

from fedmetric.data.base import Labels
from fedmetric.evaluation.labelled import Labelled


def canonical_order(images: Labelled) -> Labels:
    """Return the row indices sorted by coordinates, from the last to the first, and then by label: (N,) int64.

    Rows that are equal in all of these may stand in any order: nothing tells them apart.
    """
    return np.lexsort((images.labels, *images.embeddings.cpu().numpy().T)).astype(np.int64)
