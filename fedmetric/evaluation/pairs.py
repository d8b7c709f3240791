"""Pairs of images, genuine (of one class) and impostor (of two), all of them or a seeded sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmetric.data.base import Labels
from fedmetric.evaluation.comparable import comparable, gridded
from fedmetric.evaluation.embeddings import Distance
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.ranking import BLOCK_BYTES
from fedmetric.seeds import numpy_generator

MAX_PAIRS = 1_000_000
"""Genuine pairs at most, and as many impostor pairs: with their similarities some 50 MB."""


@dataclass(frozen=True)
class Pairs:
    """P different pairs of different images, no pair in both directions.

    Attributes:
        first: (P,) int64 row indices.
        second: (P,) int64 row indices.
        genuine: (P,) bool, whether both images are of one class; all genuine pairs come first.
    """

    first: Labels
    second: Labels
    genuine: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.first)


def draw_pairs(labels: Labels, seed: int, bound: int = MAX_PAIRS) -> Pairs:
    """Take all genuine and all impostor pairs; of a kind that has more than `bound`, that many are drawn evenly.

    The draw depends on labels, their order and the seed only, so that every encoder meets the same pairs.

    Args:
        labels: (N,) int64 ids.
        seed: of the experiment.
        bound: pairs of each kind, at most.
    """
    order = np.argsort(labels, kind="stable")
    place = np.arange(len(labels))
    end = np.searchsorted(labels[order], labels[order], side="right")
    # in the order of classes, the partners of a row stand in one stretch: the rest of its class, or all after its class
    first_genuine, second_genuine = _pairs(place + 1, end, bound, numpy_generator(seed, "genuine pairs"))
    last = np.full(len(labels), len(labels))
    first_impostor, second_impostor = _pairs(end, last, bound, numpy_generator(seed, "impostor pairs"))
    genuine = np.arange(len(first_genuine) + len(first_impostor)) < len(first_genuine)
    first, second = (
        order[np.concatenate([genuine_rows, impostor_rows])].astype(np.int64)
        for genuine_rows, impostor_rows in ((first_genuine, first_impostor), (second_genuine, second_impostor))
    )
    return Pairs(first, second, genuine)


def pair_similarities(images: Labelled, pairs: Pairs, distance: Distance = "cosine") -> NDArray[np.float64]:
    """Compare the two images of each pair, block by block; see `comparable` for the values.

    Returns:
        (P,) float64; memory is O(block x N + P).
    """
    found = np.zeros(len(pairs))
    if not len(pairs):
        return found
    (grid,), distance = gridded(images.embeddings, distance=distance)
    rows = max(1, BLOCK_BYTES // (8 * len(images)))
    order = np.argsort(pairs.first, kind="stable")
    starts = np.arange(0, len(images) + rows, rows)
    edges = np.searchsorted(pairs.first[order], starts)
    for start, low, high in zip(starts[:-1], edges[:-1], edges[1:], strict=True):
        if low < high:
            part = order[low:high]
            block = comparable(grid[start : start + rows], grid, distance).cpu().numpy()
            found[part] = block[pairs.first[part] - start, pairs.second[part]]
    return found


def _pairs(begin: Labels, end: Labels, bound: int, generator: np.random.Generator) -> tuple[Labels, Labels]:
    """Pair each place p with the places begin[p] <= q < end[p], all or `bound` of all these pairs."""
    widths = end - begin
    ends = widths.cumsum()
    total = int(widths.sum())
    drawn = np.arange(total) if total <= bound else distinct_numbers(total, bound, generator)
    first = np.searchsorted(ends, drawn, side="right")
    return first, begin[first] + drawn - (ends[first] - widths[first])


def distinct_numbers(total: int, size: int, generator: np.random.Generator) -> Labels:
    """Draw `size` of the numbers below `total` without repetition, in memory O(size): (size,) int64, ascending."""
    if total <= 2 * size:
        return np.sort(generator.permutation(total)[:size])
    drawn = np.zeros(0, np.int64)
    while len(drawn) < size:
        drawn = np.concatenate([drawn, generator.integers(total, size=size)])
        drawn = drawn[np.sort(np.unique(drawn, return_index=True)[1])]
    return np.sort(drawn[:size])
