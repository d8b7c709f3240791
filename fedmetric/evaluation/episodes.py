"""Few-shot episodes, drawn as row indices from the labels alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedmetric.data.base import Labels
from fedmetric.errors import DataError
from fedmetric.seeds import numpy_generator

DRAW_ENTRIES = 2**21
"""Random numbers drawn at once."""


def parse_sizes(text: str) -> tuple[int, int]:
    """Read "5w1s" as (n_way, n_shot) = (5, 1).

    Raises:
        DataError: not of that form, fewer than 2 ways or no shot.
    """
    match = re.fullmatch(r"(\d+)w(\d+)s", text)
    if match is None or int(match[1]) < 2 or int(match[2]) < 1:
        raise DataError(f"few-shot size {text!r} is not of the form 5w1s (at least 2 ways, at least 1 shot)")
    return int(match[1]), int(match[2])


@dataclass(frozen=True)
class Episodes:
    """T episodes of N classes, as row indices; the images of one class in one episode are all different.

    Attributes:
        support: (T, N, K) int64.
        queries: (T, N, Q) int64.
        excluded_classes: classes with fewer than K + 1 images, which no episode uses.
        excluded_images: images of those classes.
    """

    support: Labels
    queries: Labels
    excluded_classes: int
    excluded_images: int

    def __len__(self) -> int:
        return len(self.support)


def draw_episodes(labels: Labels, n_way: int, n_shot: int, n_query: int, n_episodes: int, seed: int) -> Episodes:
    """Draw episodes that depend on the labels, the sizes and the seed only, so that every encoder meets the same ones.

    All classes of all episodes have the same number of queries: `n_query`, or fewer if the smallest class that has
    K + 1 images does not have K + `n_query`. The first T episodes of a longer draw are those of a shorter one.

    Args:
        labels: (N,) int64 ids; renaming classes in the same order changes nothing.
        n_way: classes in an episode.
        n_shot: support images of each class, K.
        n_query: query images of each class, at most.
        n_episodes: T.
        seed: of the experiment.

    Returns:
        T episodes, or none where fewer than `n_way` classes have K + 1 images.
    """
    classes, counts = np.unique(labels, return_counts=True)
    eligible = counts >= n_shot + 1
    sizes = counts[eligible]
    excluded = (int((~eligible).sum()), int(counts[~eligible].sum()))
    if len(sizes) < n_way:
        empty = np.zeros((0, n_way, n_shot), np.int64)
        return Episodes(empty, empty[:, :, :0], *excluded)
    n_query = min(n_query, int(sizes.min()) - n_shot)
    by_class = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_class], classes[eligible])
    # Two streams, each consumed episode by episode, so that the size of a chunk cannot change what is drawn.
    class_stream = numpy_generator(seed, f"few-shot classes {n_way}w{n_shot}s")
    image_stream = numpy_generator(seed, f"few-shot images {n_way}w{n_shot}s")
    largest = int(sizes.max())
    chunk = max(1, DRAW_ENTRIES // max(len(sizes), n_way * largest))
    rows = []
    for start in range(0, n_episodes, chunk):
        num = min(chunk, n_episodes - start)
        drawn = _smallest(class_stream.random((num, len(sizes))), n_way)
        keys = image_stream.random((num, n_way, largest))
        keys[np.arange(largest) >= sizes[drawn][:, :, None]] = 2.0  # beyond the class's last image
        rows.append(by_class[starts[drawn][:, :, None] + _smallest(keys, n_shot + n_query)])
    images = np.concatenate(rows)
    return Episodes(images[:, :, :n_shot], images[:, :, n_shot:], *excluded)


def _smallest(keys: NDArray[np.float64], num: int) -> Labels:
    """Return the indices of the `num` smallest keys along the last axis, smallest first."""
    part = np.argpartition(keys, num - 1, axis=-1)[..., :num]
    order = np.argsort(np.take_along_axis(keys, part, axis=-1), axis=-1)
    return np.take_along_axis(part, order, axis=-1).astype(np.int64)
