"""Re-ranked retrieval: the same figures after the neighbours themselves were used to correct the order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from fedmetric.evaluation.base import Score
from fedmetric.evaluation.embeddings import Distance
from fedmetric.evaluation.expansion import alpha_qe
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.order import canonical_order
from fedmetric.evaluation.ranking import Ranking
from fedmetric.evaluation.reciprocal import check_size, k_reciprocal
from fedmetric.evaluation.retrieval import METRICS, summarise
from fedmetric.evaluation.similarity import TIE

Reranker = Callable[[Labelled, Distance], Iterator[tuple[Tensor, Tensor]]]
"""Gives blocks of queries, (Q,) int64 row indices, with their nearness to the whole set, (Q, N) float64; larger is
nearer, multiples of 2^-48. All queries are the rows of the set, in order, and none is left out of its own gallery."""

RERANKERS: dict[str, Reranker] = {"alpha-qe": alpha_qe, "k-reciprocal": k_reciprocal}
"""Every way to re-rank, by the name in evaluation.rerank."""

LIMITS: dict[str, Callable[[int], None]] = {"k-reciprocal": check_size}
"""Checks of the number of images, for those that cannot take any."""

SHOWN = ("recall@1", "map@r")


def rankings(images: Labelled, blocks: Iterator[tuple[Tensor, Tensor]]) -> Iterator[Ranking]:
    """Turn blocks of a `Reranker` into rankings without the query, pessimistic at ties; see `ranking`."""
    num_relevant = images.class_sizes() - 1
    labels = torch.from_numpy(images.labels)
    for rows, given in blocks:
        kept = rows[torch.from_numpy(num_relevant[rows.numpy()] > 0)]
        if not len(kept):
            yield Ranking(kept.numpy(), np.zeros((0, 1), bool), kept.numpy(), kept.numpy(), len(rows))
            continue
        nearness = given[(kept - rows[0]).to(given.device)].cpu()
        relevant = labels[kept][:, None] == labels
        own = torch.arange(len(kept)), kept
        nearness[own], relevant[own] = -torch.inf, False
        nearness.add_(relevant, alpha=-TIE)
        nearest = nearness.masked_fill(~relevant, -torch.inf).amax(dim=1, keepdim=True)
        first_hit = 1 + (nearness > nearest).sum(dim=1)
        needed = num_relevant[kept.numpy()]
        top = nearness.topk(int(needed.max()), dim=1).indices
        yield Ranking(kept.numpy(), relevant.gather(1, top).numpy(), needed, first_hit.numpy(), len(rows) - len(kept))


def reranked_scores(images: Labelled, method: str, distance: Distance = "cosine") -> dict[str, Score]:
    """Measure `recall@1_reranked` and `map@r_reranked` over the same queries as without re-ranking.

    Args:
        images: N labelled embeddings.
        method: a name of `RERANKERS`, or "none", which measures nothing.
        distance: "cosine", "euclidean", or one that a network was trained for.

    Raises:
        DataError: more images than the method can take.
    """
    if method == "none":
        return {}
    ordered = images.subset(canonical_order(images))  # what is equally near counts in an order of its own
    found = summarise(rankings(ordered, RERANKERS[method](ordered, distance)), {name: METRICS[name] for name in SHOWN})
    return {f"{name}_reranked": score for name, score in found.items()}


def check_rerank(method: str, num_images: int) -> None:
    """Refuse a set that is too large for a method, before anything is measured.

    Raises:
        DataError: says the limit and what to set.
    """
    if method in LIMITS:
        LIMITS[method](num_images)
