"""Retrieval metrics: pure functions of a `Ranking`, one value for each query, and the table of their names.

Definitions follow K. Musgrave, S. Belongie, S.-N. Lim, "A Metric Learning Reality Check", ECCV 2020, section 3.2
(R-precision, MAP@R), and the metric-learning convention of Recall@K. To add a metric, write a function and put it into
`METRICS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fedmetric.errors import DataError
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.embeddings import Distance
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.ranking import Ranking, rank_blocks

Values = NDArray[np.float64]
Metric = Callable[[Ranking], Values]


def recall_at_k(ranking: Ranking, k: int) -> Values:
    """Return 1 for each query with its class among the k nearest, else 0; also known as CMC at rank k.

    Args:
        ranking: of Q queries, of any depth: the rank of the nearest image of the class is always known.
        k: ranks to look at, from 1; a gallery smaller than k is looked at whole.

    Returns:
        (Q,) float64, 0 or 1.

    Raises:
        DataError: k is below 1.
    """
    if k < 1:
        raise DataError(f"recall at k={k}; k counts the nearest images and starts at 1")
    return (ranking.first_hit <= k).astype(np.float64)


cmc_at_k = recall_at_k
"""The same figure under the name that identification uses."""


def r_precision(ranking: Ranking) -> Values:
    """Return the share of the R nearest that are of the query's class, (Q,) float64 in [0, 1]."""
    return np.asarray(_hits(ranking).sum(axis=1) / ranking.num_relevant, dtype=np.float64)


def mean_average_precision_at_r(ranking: Ranking) -> Values:
    """Return (1/R) times the sum over ranks i <= R of P(i) rel(i), with P(i) the precision of the first i ranks.

    It never exceeds R-precision, equals it when the hits come first, and for R = 1 both are Recall@1.

    Returns:
        (Q,) float64 in [0, 1].
    """
    hits = _hits(ranking)
    precision = hits.cumsum(axis=1) / np.arange(1, hits.shape[1] + 1)
    return np.asarray((precision * hits).sum(axis=1) / ranking.num_relevant, dtype=np.float64)


def reciprocal_rank(ranking: Ranking) -> Values:
    """Return 1 over the rank of the nearest image of the query's class, (Q,) float64 in (0, 1]."""
    return 1.0 / ranking.first_hit.astype(np.float64)


RECALL_DEPTHS = (1, 5, 10)

METRICS: dict[str, Metric] = {
    **{f"recall@{k}": partial(recall_at_k, k=k) for k in RECALL_DEPTHS},
    "map@r": mean_average_precision_at_r,
    "r_precision": r_precision,
    "mrr": reciprocal_rank,
}
"""Every retrieval figure that the evaluator reports, by its name in a summary."""


def summarise(blocks: Iterable[Ranking], metrics: Mapping[str, Metric] = METRICS) -> dict[str, Score]:
    """Average metrics over the queries of streamed rankings.

    Args:
        blocks: from `rank_blocks`; each is dropped once its metrics are taken.
        metrics: what to measure, by name.

    Returns:
        One score for each metric, null where no query has another image of its class.
    """
    values: dict[str, list[Values]] = {name: [np.zeros(0)] for name in metrics}
    skipped = 0
    for block in blocks:
        skipped += block.skipped
        for name, metric in metrics.items():
            values[name].append(metric(block))
    return {name: Score.of(np.concatenate(parts), skipped) for name, parts in values.items()}


def retrieval_scores(images: Labelled, distance: Distance = "cosine") -> dict[str, Score]:
    """Search a set of images with each of its own images as the query; see `METRICS` for the names."""
    return summarise(rank_blocks(images, images, same=True, distance=distance, depth=max(RECALL_DEPTHS)))


def _hits(ranking: Ranking) -> NDArray[np.bool_]:
    """Blank the ranks beyond each query's R: (Q, max R) bool."""
    deepest = int(ranking.num_relevant.max(initial=0))
    return np.asarray(ranking.relevance[:, :deepest] & (np.arange(deepest) < ranking.num_relevant[:, None]))
