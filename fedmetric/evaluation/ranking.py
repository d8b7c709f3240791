"""Nearest neighbours of every query, searched in blocks and kept only as deep as the metrics look.

Ties are broken pessimistically: among gallery rows that are equally near, those of other classes come first. Whether a
rank holds a relevant row is then a function of the similarities alone, so the order of the rows cannot change a score,
and a collapsed encoder, for which everything ties, scores the worst that its ties allow. `similarity` makes ties
exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmetric.data.base import Labels
from fedmetric.errors import DataError
from fedmetric.evaluation.embeddings import Distance, placed
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.similarity import TIE, on_grid, similarity

BLOCK_BYTES = 16 * 2**20
"""Size of one block of similarities; with its copies, a search holds about three times this."""


@dataclass(frozen=True)
class Ranking:
    """What the metrics need to know of the sorted gallery of each query, the query itself removed.

    Attributes:
        query: (Q,) int64 index of each query that was ranked, ascending.
        relevance: (Q, K) bool, whether rank 1..K holds the query's class; K is at least the depth that was asked for
            and the largest R, and ranks beyond the end of the gallery hold False.
        num_relevant: (Q,) int64, R: images of the query's class in the gallery, other than the query; at least 1.
        first_hit: (Q,) int64 rank, from 1, of the nearest image of the query's class.
        skipped: queries left out because R = 0.
    """

    query: Labels
    relevance: NDArray[np.bool_]
    num_relevant: Labels
    first_hit: Labels
    skipped: int


def rank_blocks(
    queries: Labelled,
    gallery: Labelled,
    *,
    same: bool = False,
    allow_overlap: bool = False,
    distance: Distance = "cosine",
    depth: int = 10,
    block_rows: int | None = None,
) -> Iterator[Ranking]:
    """Rank the gallery for each query, one block of queries at a time.

    Memory is O(block x G) beyond the embeddings, never Q x G. No result depends on the block size.

    Args:
        queries: Q labelled embeddings.
        gallery: G labelled embeddings; the label ids mean the same classes as those of the queries.
        same: the two are the same set in the same order, and query i is removed from its own gallery by its index.
        allow_overlap: accept query rows that also stand in the gallery of another set, such as true copies of an image.
        distance: "cosine", "euclidean", or one that a network was trained for.
        depth: ranks to keep even where R is smaller.
        block_rows: queries searched at once; by default as many as fill `BLOCK_BYTES`.

    Raises:
        DataError: `same` for two sets that differ; sets of unlike dimension; or, without `same` or `allow_overlap`,
            query rows that also stand in the gallery, with their count.
    """
    if len(queries) and len(gallery):
        _check_pair(queries, gallery, same, allow_overlap)
    rows = block_rows or max(1, BLOCK_BYTES // (8 * max(1, len(gallery))))
    return _blocks(queries, gallery, same, distance, depth, rows)


def rank(queries: Labelled, gallery: Labelled, *, same: bool = False, depth: int = 10) -> Ranking:
    """Rank a small set by cosine in one piece; see `rank_blocks`, which large sets should be streamed through."""
    blocks = list(rank_blocks(queries, gallery, same=same, depth=depth))
    width = max((block.relevance.shape[1] for block in blocks), default=depth)
    return Ranking(
        np.concatenate([np.zeros(0, np.int64), *(block.query for block in blocks)]),
        np.concatenate([np.zeros((0, width), bool), *(_widen(block.relevance, width) for block in blocks)]),
        np.concatenate([np.zeros(0, np.int64), *(block.num_relevant for block in blocks)]),
        np.concatenate([np.zeros(0, np.int64), *(block.first_hit for block in blocks)]),
        sum(block.skipped for block in blocks),
    )


def _check_pair(queries: Labelled, gallery: Labelled, same: bool, allow_overlap: bool) -> None:
    if queries.embeddings.shape[1] != gallery.embeddings.shape[1]:
        raise DataError(
            f"queries have {queries.embeddings.shape[1]} dimensions and the gallery {gallery.embeddings.shape[1]}; "
            "embed both with the same encoder"
        )
    if same:
        equal_labels = np.array_equal(queries.labels, gallery.labels)
        if not equal_labels or not torch.equal(queries.embeddings, gallery.embeddings):
            raise DataError(
                f"same=True, but the {len(queries)} queries and the {len(gallery)} gallery rows differ; "
                "give the same set twice, or same=False"
            )
    elif not allow_overlap:
        held = {row.tobytes() for row in gallery.embeddings.float().cpu().numpy()}
        shared = sum(row.tobytes() in held for row in queries.embeddings.float().cpu().numpy())
        if shared:
            raise DataError(
                f"{shared} of {len(queries)} query rows also stand in the gallery, where each would find itself; pass "
                "same=True if query i is gallery row i, take them out, or pass allow_overlap=True if they are copies"
            )


def _blocks(
    queries: Labelled, gallery: Labelled, same: bool, distance: Distance, depth: int, rows: int
) -> Iterator[Ranking]:
    if not len(gallery) or not len(queries):
        empty = np.zeros(0, np.int64)
        yield Ranking(empty, np.zeros((0, depth), bool), empty, empty, len(queries))
        return
    if same:
        sets, distance = placed(gallery.embeddings, distance=distance)
        grid = searched = on_grid(*sets, distance=distance)[0]
    else:
        sets, distance = placed(queries.embeddings, gallery.embeddings, distance=distance)
        grid, searched = on_grid(*sets, distance=distance)
    present, counts = np.unique(gallery.labels, return_counts=True)
    place = np.searchsorted(present, queries.labels).clip(max=len(present) - 1)
    num_relevant = np.where(present[place] == queries.labels, counts[place], 0).astype(np.int64) - int(same)
    gallery_labels = torch.from_numpy(gallery.labels).to(searched.device)
    for start in range(0, len(queries), rows):
        block = np.arange(start, min(start + rows, len(queries)))
        kept = block[num_relevant[block] > 0]
        width = max(depth, int(num_relevant[kept].max(initial=0)))
        if not len(kept):
            yield Ranking(kept, np.zeros((0, width), bool), num_relevant[kept], kept, len(block))
            continue
        index = torch.from_numpy(kept).to(searched.device)
        own = index if same else None
        labels = torch.from_numpy(queries.labels[kept]).to(searched.device)
        relevant = labels[:, None] == gallery_labels
        hits, first = _search(similarity(grid[index], searched, distance), relevant, own, width)
        yield Ranking(kept, _widen(hits, width), num_relevant[kept], first, len(block) - len(kept))


def _search(similar: Tensor, relevant: Tensor, own: Tensor | None, width: int) -> tuple[NDArray[np.bool_], Labels]:
    """Sort one block as far as `width` ranks; `own` is each query's place in the gallery. Overwrites both inputs."""
    if own is not None:
        row = torch.arange(len(own), device=own.device)
        similar[row, own] = -torch.inf
        relevant[row, own] = False
    similar.add_(relevant, alpha=-TIE)
    nearest = similar.masked_fill(~relevant, -torch.inf).amax(dim=1, keepdim=True)
    first_hit = 1 + (similar > nearest).sum(dim=1)
    top = similar.topk(min(width, similar.shape[1]), dim=1).indices
    return relevant.gather(1, top).cpu().numpy(), first_hit.cpu().numpy()


def _widen(relevance: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    return np.pad(relevance, ((0, 0), (0, width - relevance.shape[1])))
