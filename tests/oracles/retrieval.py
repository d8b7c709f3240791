"""Retrieval by sorting the whole gallery of each query in Python, pessimistic at ties."""

from __future__ import annotations

import math
from collections.abc import Sequence


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    norms = math.sqrt(math.fsum(x * x for x in a)) * math.sqrt(math.fsum(x * x for x in b))
    return math.fsum(x * y for x, y in zip(a, b, strict=True)) / norms


def negative_distance(a: Sequence[float], b: Sequence[float]) -> float:
    return -math.dist(a, b)


def sorted_relevance(query: int, embeddings: list[list[float]], labels: list[int], near=cosine) -> list[bool]:
    """Return whether each rank holds the query's class; among equals (to 10 digits) other classes come first."""
    others = [i for i in range(len(labels)) if i != query]
    keyed = [(-round(near(embeddings[query], embeddings[i]), 10), labels[i] == labels[query]) for i in others]
    return [relevant for _, relevant in sorted(keyed)]


def metrics_of(relevance: list[bool], depths: Sequence[int] = (1, 5, 10)) -> dict[str, float] | None:
    """Return every metric of one query from its whole sorted list; None where nothing is relevant."""
    r = sum(relevance)
    if r == 0:
        return None
    found = {f"recall@{k}": float(any(relevance[:k])) for k in depths}
    found["r_precision"] = sum(relevance[:r]) / r
    found["map@r"] = sum(sum(relevance[:i]) / i for i in range(1, r + 1) if relevance[i - 1]) / r
    found["mrr"] = 1 / (1 + relevance.index(True))
    return found


def retrieval(embeddings: list[list[float]], labels: list[int], near=cosine) -> tuple[dict[str, float], int, int]:
    """Return the mean of each metric, the queries that counted and those that were skipped."""
    rows = [metrics_of(sorted_relevance(q, embeddings, labels, near)) for q in range(len(labels))]
    kept = [row for row in rows if row is not None]
    means = {name: sum(row[name] for row in kept) / len(kept) for name in kept[0]} if kept else {}
    return means, len(kept), len(rows) - len(kept)
