"""k-reciprocal re-ranking.

Z. Zhong, L. Zheng, D. Cao, S. Li, "Re-ranking Person Re-identification with k-Reciprocal Encoding", CVPR 2017. N(p, k)
is image p and its k nearest others. Reciprocal neighbours R(p, k) are those of N(p, k) that have p among theirs
(equation 3); R*(p, k) adds R(q, k/2) of each q in it of which two thirds lie in R(p, k) already (equation 5). Image p
is encoded as V_p, with exp(-d(p, g)) at each g in R*(p, k1) and 0 elsewhere (equation 7), averaged over its k2 nearest,
itself included (equation 11); the new distance is (1 - lambda) d_J + lambda d with d_J the Jaccard distance of the
encodings (equations 10 and 12). k1 = 20, k2 = 6 and lambda = 0.3 are the paper's. k2 = 1 averages nothing, lambda = 1
is the original order.

Differences: queries and gallery are one set; d is half the squared distance, lengths counted in the longest
embedding's, which is 1 - cosine for unit norm; images that are equally near count in the order of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmetric.data.base import Labels
from fedmetric.distances.base import PairDistance
from fedmetric.errors import DataError
from fedmetric.evaluation.comparable import comparable, gridded
from fedmetric.evaluation.embeddings import Distance
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.ranking import BLOCK_BYTES

K1, K2, LAMBDA = 20, 6, 0.3
MAX_IMAGES = 20_000
RESOLUTION = 2.0**40
"""Nearness is rounded to multiples of 2^-40, far above the rounding of sums: ties stay ties."""


@dataclass(frozen=True)
class Encodings:
    """Sparse rows: those of image p stand at `starts[p]` up to `starts[p + 1]`.

    Attributes:
        starts: (N + 1,) int64.
        columns: (nonzeros,) int64, ascending in each row.
        values: (nonzeros,) float64 above 0.
    """

    starts: Labels
    columns: Labels
    values: NDArray[np.float64]

    @classmethod
    def of(cls, rows: list[tuple[Labels, NDArray[np.float64]]]) -> Encodings:
        """Join rows of columns and values."""
        starts = np.concatenate([[0], np.cumsum([len(columns) for columns, _ in rows])]).astype(np.int64)
        return cls(starts, np.concatenate([row for row, _ in rows]), np.concatenate([row for _, row in rows]))

    def row(self, image: int) -> tuple[Labels, NDArray[np.float64]]:
        """Return one image's columns and values."""
        part = slice(self.starts[image], self.starts[image + 1])
        return self.columns[part], self.values[part]

    def transposed(self) -> Encodings:
        """Exchange rows and columns."""
        order = np.argsort(self.columns, kind="stable")
        rows = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        starts = np.searchsorted(self.columns[order], np.arange(len(self.starts)))
        return Encodings(starts.astype(np.int64), rows[order], self.values[order])


def check_size(num_images: int) -> None:
    """Refuse sets on which this would take many minutes.

    Raises:
        DataError: more than 20,000 images.
    """
    if num_images > MAX_IMAGES:
        raise DataError(
            f"evaluation.rerank = 'k-reciprocal' for {num_images:,} images, but it is for {MAX_IMAGES:,} at most; set "
            "evaluation.rerank to 'alpha-qe', or evaluate on fewer images"
        )


def k_reciprocal(
    images: Labelled, distance: Distance = "cosine", *, k1: int = K1, k2: int = K2, weight: float = LAMBDA
) -> Iterator[tuple[Tensor, Tensor]]:
    """Re-rank the set for each of its images; see `reranking.Reranker`.

    Args:
        images: N labelled embeddings; the labels are not looked at.
        distance: "cosine", "euclidean", or one that a network was trained for.
        k1: neighbours that are compared both ways; capped at N - 1.
        k2: encodings that are averaged.
        weight: lambda, the share of the original distance.

    Raises:
        DataError: see `check_size`.
    """
    check_size(len(images))
    if len(images) < 2:
        if len(images):
            yield torch.zeros(1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.float64)
        return
    k1 = min(k1, len(images) - 1)
    (grid,), distance = gridded(images.embeddings, distance=distance)
    block = max(1, BLOCK_BYTES // (8 * len(images)))
    near = nearest_rows(grid, distance, max(k1, min(k2, len(images)) - 1), block)
    encodings = averaged(encoded(grid, distance, reciprocal_sets(near, k1)), near[:, :k2])
    holders = encodings.transposed()
    sizes = np.add.reduceat(encodings.values, encodings.starts[:-1])
    for start in range(0, len(images), block):
        rows = np.arange(start, min(start + block, len(images)))
        shared = np.stack([overlap(encodings, holders, int(row)) for row in rows])
        jaccard = 1 - shared / (sizes[rows, None] + sizes - shared)
        original = _distances(grid[start : start + block], grid, distance)
        nearness = -((1 - weight) * torch.from_numpy(jaccard) + weight * original)
        yield torch.from_numpy(rows), nearness.mul_(RESOLUTION).round_().div_(RESOLUTION)


def _distances(queries: Tensor, gallery: Tensor, distance: Distance) -> Tensor:
    """Return half the squared distance: (Q, G) float64, from 0 to 2 for a geometry."""
    similar = comparable(queries, gallery, distance).cpu()
    if isinstance(distance, PairDistance):
        return (similar / (1 + similar)).square() / 2
    return 1 - similar if distance == "cosine" else -similar / 2


def nearest_rows(grid: Tensor, distance: Distance, k: int, block: int) -> Labels:
    """List each row itself and then its k nearest others, nearest first and equals in the order of the rows.

    Returns:
        (N, k + 1) int64.
    """
    found = []
    for start in range(0, len(grid), block):
        similar = comparable(grid[start : start + block], grid, distance)
        rows = torch.arange(len(similar), device=similar.device)
        similar[rows, start + rows] = torch.inf
        last = similar.topk(k + 1, dim=1).values[:, -1:]
        ahead, tied = similar > last, similar == last
        kept = ahead | (tied & (tied.cumsum(dim=1) <= k + 1 - ahead.sum(dim=1, keepdim=True)))
        columns = kept.nonzero()[:, 1].reshape(len(similar), k + 1)
        order = similar.gather(1, columns).sort(dim=1, descending=True, stable=True).indices
        found.append(columns.gather(1, order).cpu().numpy())
    return np.concatenate(found)


def reciprocal_sets(near: Labels, k: int) -> list[Labels]:
    """Return R*(p, k) of every row p: int64 indices, ascending, p among them.

    Args:
        near: (N, at least k + 1) int64 of `nearest_rows`.
        k: neighbours; half of it is rounded up.
    """
    whole, half = _reciprocal(near, k), _reciprocal(near, (k + 1) // 2)
    grown = []
    for own in whole:
        more = set(own)
        for other in own:
            if 3 * len(own & half[other]) >= 2 * len(half[other]):
                more |= half[other]
        grown.append(np.array(sorted(more), dtype=np.int64))
    return grown


def _reciprocal(near: Labels, k: int) -> list[set[int]]:
    near = near[:, : k + 1]
    found = []
    for row, others in enumerate(near):
        mutual = (near[others] == row).any(axis=1)
        found.append(set(others[mutual].tolist()))
    return found


def encoded(grid: Tensor, distance: Distance, sets: list[Labels]) -> Encodings:
    """Give each row exp(-d) at the rows of its set."""
    rows = []
    for row, columns in enumerate(sets):
        found = _distances(grid[row : row + 1], grid[torch.from_numpy(columns).to(grid.device)], distance)
        rows.append((columns, np.exp(-found[0].numpy())))
    return Encodings.of(rows)


def averaged(encodings: Encodings, near: Labels) -> Encodings:
    """Average the encodings of the rows that each row of `near` lists, (N, k2) int64."""
    if near.shape[1] < 2:
        return encodings
    rows = []
    for listed in near:
        parts = [encodings.row(int(row)) for row in listed]
        columns, inverse = np.unique(np.concatenate([part for part, _ in parts]), return_inverse=True)
        rows.append((columns, np.bincount(inverse, np.concatenate([part for _, part in parts])) / len(listed)))
    return Encodings.of(rows)


def overlap(encodings: Encodings, holders: Encodings, image: int) -> NDArray[np.float64]:
    """Add up min(V_p, V_g) over all columns, for image p and every image g: (N,) float64.

    Args:
        encodings: V, a row for each image.
        holders: V transposed: the images that are not 0 at a column.
        image: p.
    """
    columns, values = encodings.row(image)
    begin, length = holders.starts[columns], holders.starts[columns + 1] - holders.starts[columns]
    place = np.repeat(begin - (length.cumsum() - length), length) + np.arange(length.sum())
    smaller = np.minimum(np.repeat(values, length), holders.values[place])
    return np.bincount(holders.columns[place], smaller, minlength=len(encodings.starts) - 1).astype(np.float64)
