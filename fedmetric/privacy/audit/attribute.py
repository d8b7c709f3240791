"""Attribute inference: does an embedding tell what it was not trained to tell?

C. Song, A. Raghunathan, "Information Leakage in Embedding Models", CCS 2020, section 5: a classifier from embeddings to
a sensitive attribute, trained on a few labelled images of the attacker. Here it is a logistic regression.
Unit: one image. Adversary: whoever holds an embedding and has labelled images of the same kind.

The interval of the balanced accuracy combines the Clopper-Pearson intervals of the classes' recalls: G. Y. Zou, A.
Donner, "Construction of confidence intervals about effect measures: a general approach", Statistics in Medicine 27(10),
2008. It keeps its width where a recall is 0 or 1, and is one over test images: the classifier is held fixed.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from fedmetric.errors import DataError
from fedmetric.privacy.audit.intervals import CONFIDENCE, Interval, clopper_pearson

MAX_STEPS = 1000


@dataclass(frozen=True)
class AttributeInference:
    """How well an attribute is read from embeddings.

    Attributes:
        balanced_accuracy: mean recall of the K classes.
        low: lower end of its interval.
        high: upper end.
        baseline: 1 / K, the figure of one constant answer, such as the majority's, and of a guess.
        ceiling: the `low` of a perfect attack on as many test images.
        num_test: test images.
        num_classes: K.
    """

    balanced_accuracy: float
    low: float
    high: float
    baseline: float
    ceiling: float
    num_test: int
    num_classes: int


def attribute_inference(
    embeddings: Tensor,
    attribute: NDArray[np.int64],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    confidence: float = CONFIDENCE,
) -> AttributeInference:
    """Fit a logistic regression on the attacker's images and read the attribute of the others.

    Features are standardised with the training rows; classes weigh alike; C = 1 is scikit-learn's, tuned for nothing.

    Args:
        embeddings: (N, D) float.
        attribute: (N,) int64 ids of the K classes of an attribute, such as the site or the device.
        train: int64 rows of the attacker's labelled images.
        test: int64 rows of the images under attack; none of them in `train`. Split by person, or by whatever else the
            images share, or the figure measures that.
        confidence: of the interval.

    Raises:
        DataError: numbers that differ, a row in both halves, fewer than two classes, a class that is missing in one
            half, or embeddings that are not finite.
    """
    if len(embeddings) != len(attribute):
        raise DataError(f"{len(embeddings)} embeddings but {len(attribute)} attribute values")
    if both := np.intersect1d(train, test).size:
        raise DataError(f"{both} images are both in train and in test; the attack would be tested on what it learnt")
    classes = np.unique(attribute[train])
    if len(classes) < 2 or not np.array_equal(classes, np.unique(attribute[test])):
        raise DataError(
            f"attribute values {classes.tolist()} in train but {np.unique(attribute[test]).tolist()} in test; each of "
            "two or more values must be in both"
        )
    rows = embeddings.detach().double().cpu().numpy()
    if not np.isfinite(rows).all():
        raise DataError("an embedding is not finite")
    mean, deviation = rows[train].mean(axis=0), rows[train].std(axis=0)
    # A column that is constant but for the last bit of float32 is noise, which standardising would turn into a feature.
    varies = deviation > 1e-7 * np.abs(mean)
    features = (rows - mean) * varies / np.where(varies, deviation, 1.0)
    classifier = LogisticRegression(C=1.0, class_weight="balanced", max_iter=MAX_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(features[train], attribute[train])
    predicted = np.asarray(classifier.predict(features[test]), np.int64)
    return summarise(attribute[test], predicted, confidence)


def summarise(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], confidence: float = CONFIDENCE
) -> AttributeInference:
    """Measure predictions of an attribute.

    Args:
        truth: (T,) int64, two classes or more.
        predicted: (T,) int64.
        confidence: of the interval.
    """
    classes, counts = np.unique(truth, return_counts=True)
    hits = [int((predicted[truth == kind] == kind).sum()) for kind in classes]
    low, high = mean_rate_interval(hits, counts.tolist(), confidence)
    perfect = mean_rate_interval(counts.tolist(), counts.tolist(), confidence).low
    accuracy = float(np.mean(np.asarray(hits) / counts))
    return AttributeInference(accuracy, low, high, 1 / len(classes), perfect, len(truth), len(classes))


def mean_rate_interval(hits: list[int], counts: list[int], confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of the mean of K independent rates; of one rate it is Clopper and Pearson's.

    The distances from each rate to its own limits add up as deviations do: in squares.

    Args:
        hits: K counts.
        counts: K numbers of trials, each above 0.
        confidence: of the interval.
    """
    limits = [clopper_pearson(hit, count, confidence) for hit, count in zip(hits, counts, strict=True)]
    rates = [hit / count for hit, count in zip(hits, counts, strict=True)]
    below = math.hypot(*(rate - limit.low for rate, limit in zip(rates, limits, strict=True)))
    above = math.hypot(*(limit.high - rate for rate, limit in zip(rates, limits, strict=True)))
    mean = sum(rates) / len(rates)
    return Interval(mean - below / len(rates), mean + above / len(rates))
