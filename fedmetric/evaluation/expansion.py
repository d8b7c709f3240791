"""Alpha-weighted query expansion.

F. Radenovic, G. Tolias, O. Chum, "Fine-Tuning CNN Image Retrieval with No Human Annotation", TPAMI 41(7), 2019: a query
becomes the mean of itself and its n nearest images, the i-th weighted with its similarity to the power alpha; alpha = 0
is plain average query expansion. Differences: similarities below 0 weigh nothing; images that tie for the last of the n
places share what is left of them; with an Euclidean distance the weight is still the cosine's, and the mean is that of
the embeddings as they are. Nothing was tuned: alpha is the paper's, and n is 10 where the paper has 50, because classes
are small here.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fedmetric.distances.base import PairDistance
from fedmetric.evaluation.comparable import gridded
from fedmetric.evaluation.embeddings import Distance
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.ranking import BLOCK_BYTES
from fedmetric.evaluation.similarity import GRID, on_grid, similarity

NUM_NEIGHBOURS = 10
ALPHA = 3.0


def expand_queries(
    images: Labelled, distance: Distance = "cosine", *, num: int = NUM_NEIGHBOURS, alpha: float = ALPHA
) -> Tensor:
    """Replace each image by the weighted mean of itself, with weight 1, and its nearest others.

    Weights are rounded to multiples of 2^-24, so that sums are exact and do not depend on the order of the rows.

    Args:
        images: N labelled embeddings; the labels are not looked at.
        distance: by which the nearest are found; the mean is taken where a geometry compares, else of unit vectors.
        num: n, images that are added, 16 at most; 0 changes nothing.
        alpha: power of the weights.

    Returns:
        (N, D) float64, scaled as `on_grid` does; for alpha above 0 no row is zero, because only images on the query's
        side of the space are added.
    """
    (grid,), distance = gridded(images.embeddings, distance=distance)
    (unit,) = on_grid(images.embeddings, distance="cosine")
    rows = (unit if isinstance(distance, PairDistance) else grid).double()
    num = min(num, 16, len(images) - 1)
    if num < 1:
        return rows
    expanded = torch.empty_like(rows)
    block = max(1, BLOCK_BYTES // (8 * len(images)))
    for start in range(0, len(images), block):
        part = torch.arange(start, min(start + block, len(images)), device=grid.device)
        similar = similarity(grid[part], grid, distance)
        cosines = similar.clone() if distance == "cosine" else similarity(unit[part], unit, "cosine")
        similar[part - start, part] = -torch.inf
        last = similar.topk(num, dim=1).values[:, -1:]
        ahead, tied = similar > last, similar == last
        share = (num - ahead.sum(dim=1, keepdim=True)) / tied.sum(dim=1, keepdim=True)
        weights = cosines.clamp_(min=0).pow_(alpha) * (ahead + tied * share)
        weights = weights.mul_(GRID).round_().div_(GRID)
        total = 1 + weights.sum(dim=1, keepdim=True)
        expanded[part] = (rows[part] + torch.sparse.mm(weights.to_sparse(), rows)) / total
    return expanded


def alpha_qe(images: Labelled, distance: Distance = "cosine") -> Iterator[tuple[Tensor, Tensor]]:
    """Search the set with the expanded query of each of its images; see `reranking.Reranker`."""
    expanded = expand_queries(images, distance)
    (known,), distance = gridded(images.embeddings, distance=distance)
    asked = _rounded(expanded, distance)
    block = max(1, BLOCK_BYTES // (8 * max(1, len(images))))
    for start in range(0, len(images), block):
        rows = torch.arange(start, min(start + block, len(images)))
        yield rows, similarity(asked[rows], known, distance)


def _rounded(expanded: Tensor, distance: Distance) -> Tensor:
    """Bring expanded queries to the grid of the rows that they are means of: (N, D) float32."""
    if distance == "cosine":
        return on_grid(expanded, distance=distance)[0]
    # no mean is longer than the longest row
    return (expanded * GRID).round_().div_(GRID).float()
