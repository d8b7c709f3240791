"""Retrieval figures of each class, or of each group of images such as an alphabet or a writer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedmetric.data.base import Labels
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.embeddings import Distance
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.ranking import rank_blocks
from fedmetric.evaluation.retrieval import METRICS

SHOWN = ("recall@1", "map@r")


@dataclass(frozen=True)
class Part:
    """The queries of one group.

    Attributes:
        name: of the group.
        images: labelled images of the group.
        scores: by the names of `retrieval.METRICS`, over the group's queries; null where none has another image of its
            class, and the images without one are skipped and counted.
    """

    name: str
    images: int
    scores: dict[str, Score]


def breakdown(
    images: Labelled, groups: Labels, names: Sequence[str], distance: Distance = "cosine", shown: Sequence[str] = SHOWN
) -> list[Part]:
    """Search the whole set with each of its images, and average over the queries of each group.

    The mean of the parts, weighted by their queries, is the figure of the whole set.

    Args:
        images: N labelled embeddings.
        groups: (N,) int64, 0..len(names)-1: the group of each image; the labels themselves give one part a class.
        names: of the groups.
        distance: "cosine", "euclidean", or one that a network was trained for.
        shown: which figures.

    Returns:
        One part for each group that has an image, in the order of `names`.
    """
    values = {name: np.full(len(images), np.nan) for name in shown}
    for block in rank_blocks(images, images, same=True, distance=distance):
        for name in shown:
            values[name][block.query] = METRICS[name](block)
    parts = []
    for group in np.unique(groups):
        rows = np.flatnonzero(groups == group)
        scores = {}
        for name in shown:
            own = values[name][rows]
            counted = own[~np.isnan(own)]
            scores[name] = Score.of(counted, len(rows) - len(counted))
        parts.append(Part(names[int(group)], len(rows), scores))
    return parts
