"""The linear probe: multinomial logistic regression on frozen embeddings.

Features are standardised with the mean and deviation of the training half; scikit-learn's lbfgs minimises the
cross-entropy plus |W|^2 / (2 C) with C = 1, its default, which nothing was tuned for. It stops after 100 steps if it
has not converged, so that 659 classes of 784 dimensions stay below a minute on one core; that stop is the same for
every encoder.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from fedmetric.data.base import Labels
from fedmetric.evaluation.labelled import Labelled

MAX_STEPS = 100


def linear_probe(train: Labelled, test: Tensor) -> Labels:
    """Fit a linear classifier on one half and predict the classes of the other.

    Args:
        train: M labelled embeddings of at least two classes.
        test: (T, D) float embeddings.

    Returns:
        (T,) int64 predicted ids. A dimension that is constant over the training half counts for nothing.
    """
    features = train.embeddings.double()
    mean, deviation = features.mean(dim=0), features.std(dim=0, correction=0)
    # A column that is constant but for the last bit of float32 is noise, which standardising would turn into a feature.
    varies = deviation > 1e-7 * mean.abs()
    scale = varies / deviation.where(varies, 1.0)

    def standardise(rows: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.asarray(((rows.double() - mean) * scale).float().cpu().numpy())

    classifier = LogisticRegression(C=1.0, max_iter=MAX_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(standardise(train.embeddings), train.labels)
    return np.asarray(classifier.predict(standardise(test)), dtype=np.int64)
