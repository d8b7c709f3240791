"""Identification by sorting the classes for each probe, and by trying every threshold."""

from __future__ import annotations

from fractions import Fraction

from oracles.retrieval import cosine

Points = list[list[float]]


def candidates(probe: list[float], gallery: Points, labels: list[int], near=cosine) -> dict[int, float]:
    """Return for each enrolled class the similarity of its nearest image, to 10 digits."""
    return {
        label: max(round(near(probe, row), 10) for row, own in zip(gallery, labels, strict=True) if own == label)
        for label in set(labels)
    }


def rank_of(label: int, found: dict[int, float]) -> int:
    """Sort the classes, the right one behind those it ties with, and return its place from 1; 0 if not enrolled."""
    ranked = sorted(found, key=lambda other: (-found[other], other == label))
    return 1 + ranked.index(label) if label in found else 0


def detection_rate(mated: list[tuple[int, float]], alarms: list[float], rate: float) -> float | None:
    """Try every threshold: the most mated probes that are first and above it while few enough alarms are.

    Args:
        mated: rank and nearest similarity of each mated probe.
        alarms: nearest similarity of each non-mated probe.
        rate: share of alarms allowed.
    """
    exact = Fraction(str(rate))
    if exact * len(alarms) < 1:
        return None
    thresholds = [float("-inf"), *alarms]
    allowed = [t for t in thresholds if Fraction(sum(a > t for a in alarms), len(alarms)) <= exact]
    return max(sum(rank == 1 and near > t for rank, near in mated) for t in allowed) / len(mated)
