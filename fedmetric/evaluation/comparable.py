"""Similarities that may be compared over queries, which one threshold for all of them needs."""

from __future__ import annotations

from torch import Tensor

from fedmetric.evaluation.embeddings import Distance, placed
from fedmetric.evaluation.similarity import on_grid, similarity


def gridded(*sets: Tensor, distance: Distance) -> tuple[tuple[Tensor, ...], Distance]:
    """Bring sets of embeddings to where they are compared; see `placed` and `on_grid`.

    Args:
        *sets: (N, D) float each, no zero rows.
        distance: "cosine", "euclidean", or one that a network was trained for.

    Returns:
        The sets for `similarity` and `comparable`, (N, R) float32 each, and the distance to call those with.
    """
    maps, geometry = placed(*sets, distance=distance)
    return on_grid(*maps, distance=geometry), geometry


def comparable(queries: Tensor, gallery: Tensor, distance: Distance) -> Tensor:
    """Compare each query with each row of the gallery, as exactly as `similarity`, and symmetrically.

    `similarity` leaves out of Euclidean distances what is the same for one query's whole gallery; this puts it back.

    Args:
        queries: (Q, D) float32 from `gridded`.
        gallery: (G, D) float32 from the same call of `gridded`.
        distance: from the same call. "cosine" gives the cosine, "euclidean" minus the squared distance over the squared
            longest length, a distance d without a geometry -d / (1 + d).

    Returns:
        (Q, G) float64, multiples of 2^-48 of size at most 4; larger is nearer.
    """
    similar = similarity(queries, gallery, distance)
    if distance == "euclidean":
        similar -= queries.double().square().sum(dim=1, keepdim=True)
    return similar
