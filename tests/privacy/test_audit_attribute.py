from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score

from fedmetric.errors import DataError
from fedmetric.privacy.audit.attribute import attribute_inference, mean_rate_interval, summarise
from fedmetric.privacy.audit.intervals import clopper_pearson

TRAIN, TEST = np.arange(0, 400, 2), np.arange(1, 400, 2)


def embeddings(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((400, 8)))


def test_a_planted_attribute_is_found() -> None:
    rows = embeddings()
    found = attribute_inference(rows, (rows[:, 2] > 0.3).long().numpy(), TRAIN, TEST)
    assert found.balanced_accuracy > 0.9
    assert found.low > 0.85 > found.baseline == 0.5
    assert (found.num_test, found.num_classes) == (200, 2)


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize("seed", range(4))
def test_a_random_attribute_is_not_found(seed: int, num_classes: int) -> None:
    attribute = np.random.default_rng(100 + seed).integers(0, num_classes, 400)
    found = attribute_inference(embeddings(seed), attribute, TRAIN, TEST)
    assert found.baseline == 1 / num_classes
    assert found.low <= found.baseline <= found.high
    assert found.high - found.low < 0.25


def test_a_rare_attribute_is_not_hidden_by_the_majority() -> None:
    """One in ten has it: answering with the majority is right in 90 %, and balanced in 50 %."""
    rows = embeddings()
    attribute = (rows[:, 0] > 1.28).long().numpy()
    assert attribute.mean() < 0.15
    assert attribute_inference(rows, attribute, TRAIN, TEST).balanced_accuracy > 0.85
    assert summarise(attribute, np.zeros(400, np.int64)).balanced_accuracy == 0.5


def test_the_figure_is_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    truth, predicted = draw.integers(0, 3, 90), draw.integers(0, 3, 90)
    assert summarise(truth, predicted).balanced_accuracy == pytest.approx(balanced_accuracy_score(truth, predicted))


def test_the_interval_of_one_rate_is_exact_and_of_two_as_by_hand() -> None:
    """Two equal rates: the distances to the limits shrink by the root of two."""
    low, high = clopper_pearson(14, 20)
    assert mean_rate_interval([14], [20]) == pytest.approx((low, high))
    root = 2**0.5
    assert mean_rate_interval([14, 14], [20, 20]) == pytest.approx(
        (0.7 - (0.7 - low) / root, 0.7 + (high - 0.7) / root)
    )


def test_the_interval_covers_the_truth_at_least_19_times_in_20() -> None:
    draw, covered = np.random.default_rng(2), 0
    for _ in range(300):
        hits = [int(draw.binomial(40, 0.95)), int(draw.binomial(15, 0.6))]
        low, high = mean_rate_interval(hits, [40, 15])
        covered += low <= (0.95 + 0.6) / 2 <= high
    assert 0.93 <= covered / 300 < 1


def test_a_perfect_attack_is_not_certain_and_reaches_its_ceiling() -> None:
    truth = np.array([0] * 10 + [1] * 30)
    found = summarise(truth, truth)
    assert (found.balanced_accuracy, found.high) == (1, 1)
    assert found.low == found.ceiling
    assert 0.8 < found.ceiling < 0.95


def test_the_scale_and_place_of_each_dimension_do_not_matter() -> None:
    rows = embeddings()
    attribute = (rows[:, 2] + rows[:, 3] > 0).long().numpy()
    moved = rows * torch.logspace(-3, 3, 8) + 50
    assert attribute_inference(moved, attribute, TRAIN, TEST).balanced_accuracy == pytest.approx(
        attribute_inference(rows, attribute, TRAIN, TEST).balanced_accuracy, abs=0.01
    )


def test_the_last_bit_of_a_constant_dimension_tells_nothing() -> None:
    """The column would give the attribute away if it were standardised; in the test it is far from where it was."""
    attribute = np.random.default_rng(9).integers(0, 2, 400)
    column = 1 + 2.0**-24 * torch.from_numpy(attribute)[:, None].double()
    column[TEST] += 1e9 * embeddings(1)[TEST, :1]
    wider = torch.cat([embeddings(), column], dim=1)
    assert attribute_inference(wider, attribute, TRAIN, TEST) == attribute_inference(
        embeddings(), attribute, TRAIN, TEST
    )


def test_only_the_rows_of_both_halves_are_looked_at() -> None:
    rows, attribute = embeddings(), np.random.default_rng(1).integers(0, 2, 400)
    asked = attribute_inference(rows, attribute, TRAIN[:100], TEST[:50])
    changed = attribute.copy()
    changed[250:] = 1 - changed[250:]
    assert attribute_inference(rows, changed, TRAIN[:100], TEST[:50]) == asked
    assert asked.num_test == 50


def test_a_split_that_would_measure_something_else_is_refused() -> None:
    rows, attribute = embeddings(), np.arange(400) % 4 // 2
    with pytest.raises(DataError, match="3 images are both in train and in test"):
        attribute_inference(rows, attribute, TRAIN, np.concatenate([TEST, TRAIN[:3]]))
    with pytest.raises(DataError, match="400 embeddings but 399 attribute"):
        attribute_inference(rows, attribute[1:], TRAIN, TEST)
    with pytest.raises(DataError, match=r"values \[0\] in train but \[0\] in test"):
        attribute_inference(rows, attribute * 0, TRAIN, TEST)
    with pytest.raises(DataError, match=r"values \[0, 1\] in train but \[0\] in test"):
        attribute_inference(rows, attribute, TRAIN, TEST[attribute[TEST] == 0])
    with pytest.raises(DataError, match="not finite"):
        attribute_inference(rows * torch.nan, attribute, TRAIN, TEST)
