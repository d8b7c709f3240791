"""The nearest rows of a gallery, exactly: every pair is compared, and what ties comes in the order of the gallery.

Compared and ordered by the code that measures retrieval (`evaluation.similarity`), so an index finds what the evaluator
counted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fedmetric.distances.base import PairDistance
from fedmetric.evaluation.embeddings import placed
from fedmetric.evaluation.similarity import on_grid, similarity

BLOCK_BYTES = 64 * 2**20
MIN_QUERIES = 8
"""Queries compared at once even with a huge gallery, of which each block makes a copy in float64, tile by tile."""


@torch.no_grad()
def nearest(queries: Tensor, gallery: Tensor, distance: PairDistance, count: int) -> tuple[Tensor, Tensor]:
    """Find the nearest rows of a gallery for each query.

    Args:
        queries: (Q, D) float, no zero rows.
        gallery: (G, D) float, no zero rows.
        distance: what the network was trained for.
        count: rows to find; fewer where the gallery is smaller.

    Returns:
        (Q, K) int64 rows of the gallery, the nearest first, and (Q, K) float64 their distances, K = min(count, G).
    """
    count = min(count, len(gallery))
    rows = torch.empty(len(queries), count, dtype=torch.int64)
    far = torch.empty(len(queries), count, dtype=torch.float64)
    if not rows.numel():
        return rows, far
    sets, order = placed(queries, gallery, distance=distance)
    asked, known = on_grid(*sets, distance=order)
    block = max(MIN_QUERIES, BLOCK_BYTES // (8 * len(gallery)))
    for start in range(0, len(queries), block):
        for line, similar in enumerate(similarity(asked[start : start + block], known, order), start=start):
            rows[line] = _first(similar, count)
            far[line] = distance(queries[line : line + 1].double(), gallery[rows[line]].double())[0]
    return rows, far


def _first(similar: Tensor, count: int) -> Tensor:
    """Return the places of the `count` largest of (G,) values, the largest first, equal ones in their own order."""
    last = similar.topk(count).values[-1]
    places = torch.nonzero(similar >= last).flatten()
    return places[similar[places].argsort(descending=True, stable=True)[:count]]
