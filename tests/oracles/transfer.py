"""Weighted neighbour votes and macro averages, one image and one class at a time."""

from __future__ import annotations

import math

from oracles.retrieval import cosine


def neighbour_vote(train: list[list[float]], labels: list[int], query: list[float], k: int, temperature: float) -> int:
    """Return the class with the most weight among the k nearest of a gallery without ties."""
    ranked = sorted(((cosine(query, row), label) for row, label in zip(train, labels, strict=True)), reverse=True)
    votes: dict[int, float] = {}
    for similarity, label in ranked[:k]:
        votes[label] = votes.get(label, 0.0) + math.exp(similarity / temperature)
    return max(sorted(votes), key=lambda label: votes[label])


def prototype_vote(train: list[list[float]], labels: list[int], query: list[float]) -> int:
    """Return the class whose mean of unit vectors is most similar; the lowest id of equals (to 10 digits)."""

    def mean(label: int) -> list[float]:
        own = [row for row, its in zip(train, labels, strict=True) if its == label]
        unit = [[x / math.sqrt(math.fsum(y * y for y in row)) for x in row] for row in own]
        return [sum(column) / len(unit) for column in zip(*unit, strict=True)]

    return max(sorted(set(labels)), key=lambda label: round(cosine(mean(label), query), 10))


def macro(predicted: list[int], true: list[int]) -> dict[str, float]:
    """Return accuracy and the macro averages over the classes of `true`."""
    precision, recall, f1 = [], [], []
    for label in sorted(set(true)):
        hits = sum(p == t == label for p, t in zip(predicted, true, strict=True))
        claims, members = predicted.count(label), true.count(label)
        p, r = (hits / claims if claims else 0.0), hits / members
        precision.append(p)
        recall.append(r)
        f1.append(2 * p * r / (p + r) if p + r else 0.0)
    correct = sum(p == t for p, t in zip(predicted, true, strict=True)) / len(true)
    averages = {"precision": precision, "recall": recall, "f1": f1}
    return {"accuracy": correct} | {name: sum(values) / len(values) for name, values in averages.items()}
