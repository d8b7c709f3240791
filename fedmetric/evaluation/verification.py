"""Verification: are two images of one class? Figures over pairs, as face recognition reports them.

AUC, EER and TAR at a FAR are read from one curve over all pairs (`roc`). The accuracy is that of G. B. Huang, M.
Ramesh, T. Berg, E. Learned-Miller, "Labeled Faces in the Wild", technical report 07-49, University of Massachusetts,
2007: the threshold for each of ten folds is chosen on the others, and no identity stands in two folds.
Differences: the pairs of a fold are all (drawn) pairs inside its classes and not a published list, so genuine and
impostor pairs, of which that list has as many, weigh half each here; a fold is tested
on the pairs inside it, and its threshold is chosen on all pairs without an image of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedmetric.data.base import Labels
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.embeddings import Distance
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.pairs import MAX_PAIRS, Pairs, draw_pairs, pair_similarities
from fedmetric.evaluation.roc import area_under, best_threshold, equal_error_rate, roc, roc_of_sorted, true_accept_rate
from fedmetric.seeds import numpy_generator

MAX_FOLDS = 10


def verification_scores(
    images: Labelled,
    *,
    seed: int,
    false_accepts: Sequence[float] = (0.01, 0.001),
    distance: Distance = "cosine",
    bound: int = MAX_PAIRS,
) -> dict[str, Score]:
    """Measure how well one threshold on the similarity tells pairs of one class from pairs of two.

    Args:
        images: N labelled embeddings.
        seed: draws the pairs, where there are more than `bound` of a kind, and the folds.
        false_accepts: shares of impostor pairs at which the accepted genuine pairs are counted.
        distance: "cosine", "euclidean", or one that a network was trained for.
        bound: genuine pairs at most, and impostor pairs at most.

    Returns:
        `verification_auc` and `verification_eer` with the number of pairs, `verification_tar@1%` and so on with the
        number of genuine pairs, all without an interval, because pairs share images; `verification_accuracy` over
        folds. Null: all without a genuine or without an impostor pair; a TAR whose rate is below 1 / impostor pairs;
        the accuracy with fewer than two classes of two images or fewer than four classes.
    """
    pairs = draw_pairs(images.labels, seed, bound)
    similarities = pair_similarities(images, pairs, distance)
    curve = roc(similarities, pairs.genuine)
    figures = {"auc": (area_under(curve), len(pairs)), "eer": (equal_error_rate(curve), len(pairs))}
    for rate in false_accepts:
        figures[f"tar@{100 * rate:g}%"] = (true_accept_rate(curve, rate), curve.num_genuine)
    accuracy = Score.of(fold_accuracies(similarities, pairs, folds_of(images.labels, seed)))
    measured = curve.num_genuine > 0 and curve.num_impostor > 0
    skipped = 0 if measured else len(images)
    scores = {
        name: Score(value, None, 0 if value is None else num, skipped) for name, (value, num) in figures.items()
    } | {"accuracy": Score(accuracy.mean, accuracy.ci95, accuracy.n, 0 if accuracy.n else len(images))}
    return {f"verification_{name}": score for name, score in scores.items()}


def folds_of(labels: Labels, seed: int) -> Labels:
    """Deal classes to ten folds at random, or to fewer, so that each has two classes and one of them two images.

    Args:
        labels: (N,) int64 ids.
        seed: of the experiment.

    Returns:
        (N,) int64 fold of each row, from 0; all 0 where there cannot be two folds.
    """
    if not len(labels):
        return np.zeros(0, np.int64)
    _, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    shuffled = numpy_generator(seed, "verification folds").permutation(len(counts))
    dealt = shuffled[np.argsort(counts[shuffled] < 2, kind="stable")]  # classes with genuine pairs first
    num = max(1, min(MAX_FOLDS, int((counts >= 2).sum()), len(counts) // 2))
    folds = np.zeros(len(counts), np.int64)
    folds[dealt] = np.arange(len(counts)) % num
    return folds[inverse]


def fold_accuracies(similarities: NDArray[np.float64], pairs: Pairs, folds: Labels) -> NDArray[np.float64]:
    """Decide each fold's pairs by the best threshold on the pairs of all other folds.

    Args:
        similarities: (P,) float64, larger is nearer.
        pairs: P pairs.
        folds: (N,) int64 fold of each image; a class is in one fold.

    Returns:
        One float64 for each fold: the share of genuine pairs accepted plus the share of impostors rejected, over two.
        A fold is left out if it, or the others together, have no genuine or no impostor pair.
    """
    order = np.argsort(-similarities, kind="stable")  # once for all folds
    similarities, genuine = similarities[order], pairs.genuine[order]
    first, second = folds[pairs.first[order]], folds[pairs.second[order]]
    accuracies = []
    for fold in range(int(folds.max(initial=-1)) + 1):
        others, own = (first != fold) & (second != fold), (first == fold) & (second == fold)
        threshold = best_threshold(roc_of_sorted(similarities[others], genuine[others]))
        accepted, same = similarities[own], genuine[own]
        if threshold is None or not same.any() or same.all():
            continue
        right = (accepted >= threshold) == same
        accuracies.append((right[same].mean() + right[~same].mean()) / 2)
    return np.asarray(accuracies, dtype=np.float64)
