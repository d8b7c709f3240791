from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.probe import linear_probe
from oracles.geometry import cloud, clusters


def halves(spread: float) -> tuple[Labelled, torch.Tensor, np.ndarray]:
    points, labels = clusters(5, 20, 6, 0, spread)
    return Labelled(points[::2], labels[::2]), points[1::2], labels[1::2]


def test_separated_clusters_are_told_apart() -> None:
    train, asked, true = halves(0.05)
    assert np.array_equal(linear_probe(train, asked), true)


def test_predictions_are_those_of_a_standardised_logistic_regression() -> None:
    train, asked, _ = halves(1.5)
    oracle = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, tol=1e-8))
    expected = oracle.fit(train.embeddings.double().numpy(), train.labels).predict(asked.double().numpy())
    assert (linear_probe(train, asked) == expected).mean() >= 0.98


def test_the_scale_and_place_of_each_feature_do_not_matter() -> None:
    train, asked, _ = halves(1.5)
    scale, shift = torch.tensor([1e-3, 1, 10, 100, 1e3, 1e4]), torch.arange(6) * 100.0
    moved = Labelled(train.embeddings.double() * scale + shift, train.labels)
    assert (linear_probe(moved, asked.double() * scale + shift) == linear_probe(train, asked)).mean() >= 0.98


@pytest.mark.parametrize("last_bit", [0.0, 2.0**-23])
def test_a_constant_feature_counts_for_nothing_even_if_its_last_bit_varies(last_bit: float) -> None:
    """The column is 1, or 1 + 2^-23 for two of the five classes; in the test it is far from both."""
    train, asked, _ = halves(1.5)
    column = 1 + last_bit * torch.from_numpy(train.labels < 2).float()[:, None]
    wider = Labelled(torch.cat([train.embeddings, column], dim=1), train.labels)
    got = linear_probe(wider, torch.cat([asked, 1e6 * cloud(50, 1, 3)], dim=1))
    assert np.array_equal(got, linear_probe(train, asked))


def test_two_fits_agree_and_ids_come_back_unchanged() -> None:
    train, asked, _ = halves(1.5)
    renamed = Labelled(train.embeddings, train.labels + 2**40)
    first = linear_probe(renamed, asked)
    assert np.array_equal(first, linear_probe(renamed, asked))
    assert np.array_equal(first - 2**40, linear_probe(train, asked))
