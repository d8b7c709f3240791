"""Similarities that are exact, so that a tie is a tie whatever computes it.

A float32 product of the same two vectors differs in its last bit with the shape of the block, the order of the rows
and the device, and every such bit can swap two neighbours that are equally near: a score would then depend on the block
size. Rounding the products afterwards only moves the problem to the edges of the rounding. Here the coordinates are
rounded instead, once, to multiples of 2^-24 (the resolution of float32 near 1) of vectors no longer than 1. A product
of two is then a multiple of 2^-48 and every partial sum is at most 1 in size (Cauchy-Schwarz), so float64, with its 53
bits, adds them without any rounding: the result is the same multiple in any order, with any block and on any device. It
is within 2^-24 sqrt(D) of the unrounded similarity and typically 1e-8 away, as near as a float32 product comes.

A distance that is no distance of any space cannot be had so. It is computed in float64, whose last bit is some 2^-50,
and rounded to multiples of 2^-24: a pair that lies on the edge between two multiples may still fall on either side.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fedmetric.distances.base import PairDistance
from fedmetric.evaluation.embeddings import Distance, normalise, where

GRID = 2.0**24
TIE = 2.0**-49
"""Half the smallest difference between two similarities: adding it orders a tie and nothing else."""
TILE_ROWS = 4096
PAIR_ELEMENTS = 2**20
"""Coordinates of pairs that a distance without a geometry sees at once."""


def on_grid(*sets: Tensor, distance: Distance) -> tuple[Tensor, ...]:
    """Scale sets of embeddings to length at most 1 and round their coordinates to multiples of 2^-24.

    Args:
        *sets: (N, D) float each, no zero rows, to be compared with one another.
        distance: "cosine" scales each row to length 1; "euclidean" divides all sets by the length of the longest row,
            so coordinates below 2^-25 of that length count as zero; a distance without a geometry changes nothing.

    Returns:
        One (N, D) float32 for each set; every value is held exactly.
    """
    if isinstance(distance, PairDistance):
        return tuple(rows.float() for rows in sets)
    longest = max((_longest(rows) for rows in sets if len(rows)), default=1.0) if distance == "euclidean" else 1.0
    longest = longest or 1.0
    return tuple(
        torch.cat([_round(part, distance, longest) for part in torch.split(rows, TILE_ROWS)])
        if len(rows)
        else rows.float()
        for rows in sets
    )


def _longest(rows: Tensor) -> float:
    return max(float(part.double().norm(dim=1).amax()) for part in torch.split(rows, TILE_ROWS))


def _round(rows: Tensor, distance: Distance, longest: float) -> Tensor:
    scaled = normalise(rows.double(), distance) / longest
    return (scaled * GRID).round_().div_(GRID).float()


def similarity(queries: Tensor, gallery: Tensor, distance: Distance) -> Tensor:
    """Compare each query with each row of the gallery, exactly.

    Args:
        queries: (Q, D) float32 from `on_grid`.
        gallery: (G, D) float32 from the same call of `on_grid`.
        distance: "cosine" gives the cosine; "euclidean" gives |q|^2 - d^2 with d the distance over the longest length,
            which orders each query's gallery as the negative distance does; a distance d without a geometry gives
            -d / (1 + d), which does too.

    Returns:
        (Q, G) float64, multiples of 2^-48, of 2^-24 for a distance without a geometry.
    """
    if isinstance(distance, PairDistance):
        return _nearness(queries, gallery, distance)
    result = torch.empty(len(queries), len(gallery), dtype=torch.float64, device=queries.device)
    wide = queries.double()
    for start in range(0, len(gallery), TILE_ROWS):
        tile = gallery[start : start + TILE_ROWS].double()
        part = wide @ tile.T
        if distance == "euclidean":
            part = part.mul_(2) - tile.square().sum(dim=1)
        result[:, start : start + len(tile)] = part
    return result


@torch.no_grad()
def _nearness(queries: Tensor, gallery: Tensor, distance: PairDistance) -> Tensor:
    """Compare in tiles of at most `PAIR_ELEMENTS` coordinates: (Q, G) float64 in (-1, 0]."""
    device = where(distance, queries)
    result = torch.empty(len(queries), len(gallery), dtype=torch.float64, device=queries.device)
    wide = queries.to(device).double()
    rows = max(1, PAIR_ELEMENTS // max(1, queries.numel()))
    for start in range(0, len(gallery), rows):
        far = distance(wide, gallery[start : start + rows].to(device).double())
        result[:, start : start + rows] = (-far / (1 + far) * GRID).round_().div_(GRID)
    return result
