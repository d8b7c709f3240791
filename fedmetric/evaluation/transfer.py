"""How well classifiers on frozen embeddings name images of classes that the encoder never saw."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedmetric.data.base import Labels
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.neighbours import weighted_neighbours
from fedmetric.evaluation.probe import linear_probe
from fedmetric.evaluation.prototypes import nearest_prototype
from fedmetric.evaluation.split import stratified_halves


def classification_scores(predicted: Labels, true: Labels, prefix: str, skipped: int = 0) -> dict[str, Score]:
    """Measure predictions of T test images.

    Precision, recall and F1 are macro averages: the mean, and its interval, is over the classes of the test images,
    each counting once. A class that is never predicted has precision 0 and F1 0.

    Args:
        predicted: (T,) int64 ids.
        true: (T,) int64 ids.
        prefix: "knn" gives `knn_accuracy`, `knn_precision`, `knn_recall` and `knn_f1`.
        skipped: images that were left out before.
    """
    classes, inverse, counts = np.unique(true, return_inverse=True, return_counts=True)
    correct = (predicted == true).astype(np.float64)
    hits = np.bincount(inverse, weights=correct, minlength=len(classes))
    known = predicted[np.isin(predicted, classes)]
    claims = np.bincount(np.searchsorted(classes, known), minlength=len(classes))
    values = {
        "accuracy": correct,
        "precision": hits / np.maximum(claims, 1),
        "recall": hits / counts,
        "f1": 2 * hits / (claims + counts),
    }
    return {f"{prefix}_{name}": Score.of(value, skipped) for name, value in values.items()}


def transfer_scores(
    images: Labelled, *, seed: int, neighbours: int = 200, temperature: float = 0.1
) -> dict[str, Score]:
    """Split held-out images in half by class, learn on one half and test on the other.

    Args:
        images: N labelled embeddings.
        seed: draws the split, the same for every encoder.
        neighbours: k of the weighted nearest-neighbour classifier.
        temperature: of the same.

    Returns:
        `knn_*`, `prototype_*` and `linear_*`, each accuracy, precision, recall and f1; all null with fewer than two
        classes of two images.
    """
    split = stratified_halves(images.labels, seed)
    if len(np.unique(images.labels[split.train])) < 2:
        nothing = np.zeros(0, np.int64)
        return _named(dict.fromkeys(("knn", "prototype", "linear"), nothing), nothing, len(images))
    train, test = images.subset(split.train), images.subset(split.test)
    predicted = {
        "knn": weighted_neighbours(train, test.embeddings, k=neighbours, temperature=temperature),
        "prototype": nearest_prototype(train, test.embeddings),
        "linear": linear_probe(train, test.embeddings),
    }
    return _named(predicted, test.labels, split.skipped)


def _named(predicted: Mapping[str, Labels], true: Labels, skipped: int) -> dict[str, Score]:
    return {
        name: score
        for prefix, labels in predicted.items()
        for name, score in classification_scores(labels, true, prefix, skipped).items()
    }
