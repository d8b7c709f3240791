"""Figures of the embedding space itself, on embeddings scaled to unit norm: they show a collapse without labels.

Effective rank: O. Roy, M. Vetterli, "The effective rank: a measure of effective dimensionality", EUSIPCO 2007,
definition 1. Alignment (alpha = 2) and uniformity (t = 2): T. Wang, P. Isola, "Understanding Contrastive
Representation Learning through Alignment and Uniformity on the Hypersphere", ICML 2020, equations 1 and 2; alignment
here is over all pairs of one class, not over pairs of views. The deviation times sqrt(D) is the collapse check of X.
Chen, K. He, "Exploring Simple Siamese Representation Learning", CVPR 2021, section 4.1.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedmetric.data.base import Labels
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.embeddings import check_embeddings, normalise
from fedmetric.seeds import numpy_generator

DIAGNOSTICS = ("std", "effective_rank", "uniformity", "alignment")
"""What is measured of the embedding space; all but the alignment need no label."""
UNIFORMITY_SAMPLES = 2048
BLOCK_ROWS = 4096


def scaled_deviation(unit: Tensor) -> float:
    """Return the mean deviation of the coordinates times sqrt(D): 0 for one point, near 1 for an even sphere.

    Args:
        unit: (N, D) float, unit norm, N >= 1.
    """
    return float(unit.double().std(dim=0, correction=0).mean() * unit.shape[1] ** 0.5)


def effective_rank(unit: Tensor) -> float:
    """Return exp of the entropy of the singular values over their sum: 1 for one direction, D when all are equal.

    Args:
        unit: (N, D) float, unit norm, N >= 1; not centred.
    """
    gram = torch.zeros(unit.shape[1], unit.shape[1], dtype=torch.float64, device=unit.device)
    for start in range(0, len(unit), BLOCK_ROWS):
        block = unit[start : start + BLOCK_ROWS].double()
        gram += block.T @ block
    values = torch.linalg.eigvalsh(gram)
    # Eigenvalues at the level of rounding are zeros; their square roots would add up to a visible share.
    singular = values[values > values[-1] * 1e-12].sqrt()
    shares = singular / singular.sum()
    return float(torch.exp(-(shares * shares.log()).sum()))


def uniformity(unit: Tensor, seed: int) -> float:
    """Return log of the mean of exp(-2 |x - y|^2) over pairs: 0 when all points coincide, lower when they spread.

    Args:
        unit: (N, D) float, unit norm, N >= 2; at most 2,048 rows, drawn with `seed`, are paired.
        seed: of the experiment.
    """
    if len(unit) > UNIFORMITY_SAMPLES:
        drawn = numpy_generator(seed, "uniformity").choice(len(unit), UNIFORMITY_SAMPLES, replace=False)
        unit = unit[torch.from_numpy(np.sort(drawn))]
    return mean_potential(unit)


def mean_potential(unit: Tensor) -> float:
    """Return log of the mean of exp(-2 |x - y|^2) over all pairs of rows; see `uniformity`."""
    return float(torch.exp(-2 * torch.pdist(unit.double()).square()).mean().log())


def alignment(unit: Tensor, labels: Labels) -> float | None:
    """Return the mean squared distance over all pairs of one class, from 0 to 4; None where no class has two images.

    The sum over ordered pairs of a class of m unit vectors with sum s is 2 m^2 - 2 |s|^2, so no pair is enumerated.

    Args:
        unit: (N, D) float, unit norm.
        labels: (N,) int64 ids.
    """
    classes, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    pairs = int((counts * (counts - 1)).sum())
    if pairs == 0:
        return None
    sums = torch.zeros(len(classes), unit.shape[1], dtype=torch.float64, device=unit.device)
    sums.index_add_(0, torch.from_numpy(inverse).to(unit.device), unit.double())
    total = 2.0 * float((counts.astype(np.float64) ** 2).sum()) - 2.0 * float(sums.square().sum())
    return max(0.0, total / pairs)


def diagnostics(embeddings: Tensor, labels: Labels | None = None, *, seed: int) -> dict[str, Score]:
    """Measure `std`, `effective_rank`, `uniformity` and `alignment`, each with the count of embeddings and no interval.

    Args:
        embeddings: (N, D) float.
        labels: (N,) int64 ids, negative for rows without a label; absent leaves alignment null.
        seed: draws the sample for uniformity.

    Raises:
        DataError: embeddings that `check_embeddings` refuses.
    """
    num = len(embeddings)
    if num == 0:
        return dict.fromkeys(DIAGNOSTICS, Score(None, None, 0))
    check_embeddings(embeddings)
    unit = normalise(embeddings, "cosine")
    known = np.flatnonzero(labels >= 0) if labels is not None else np.zeros(0, np.int64)
    aligned = alignment(unit[torch.from_numpy(known)], labels[known]) if labels is not None else None
    return {
        "std": Score(scaled_deviation(unit), None, num),
        "effective_rank": Score(effective_rank(unit), None, num),
        "uniformity": Score(uniformity(unit, seed), None, num) if num > 1 else Score(None, None, 0, num),
        "alignment": Score(aligned, None, 0 if aligned is None else len(known), num - len(known)),
    }


def view_diagnostics(representations: Tensor, num_images: int) -> dict[str, float]:
    """Measure one training batch: "std", "rank", "uniformity" and, of two views, the "alignment" between them.

    Args:
        representations: (V B, D) float, what the backbone gave in train mode, all first views before the second ones;
            rows of zeros are left out; where fewer than two others are left, or one is not finite, "std" is 0.
        num_images: B; the alignment is that of 2 B rows.
    """
    rows = representations.float()
    norms = rows.norm(dim=1)
    if len(rows) < 2:
        return {}
    alive = norms > 0
    if not bool(torch.isfinite(norms).all()) or int(alive.sum()) < 2:
        return {"std": 0.0}
    unit = rows[alive] / norms[alive, None]
    found = {"std": scaled_deviation(unit), "rank": effective_rank(unit), "uniformity": mean_potential(unit)}
    if len(unit) == 2 * num_images:
        first, second = unit.chunk(2)
        found["alignment"] = float((first - second).double().square().sum(dim=1).mean())
    return found
