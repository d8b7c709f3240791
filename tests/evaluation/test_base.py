from __future__ import annotations

import math

import numpy as np
import pytest

from fedmetric.evaluation.base import Score


def test_the_interval_is_1_96_sample_deviations_over_the_root_of_n() -> None:
    """Values 0, 1, 1, 0: mean 0.5, squared deviations sum to 1, s^2 = 1/3, and the interval is 1.96 s / 2."""
    score = Score.of(np.array([0.0, 1.0, 1.0, 0.0]), skipped=3)
    assert score.mean == 0.5
    assert score.ci95 == pytest.approx(1.96 * math.sqrt(1 / 3) / 2)
    assert (score.n, score.skipped) == (4, 3)


def test_one_value_has_a_mean_and_no_interval() -> None:
    assert Score.of(np.array([0.25])) == Score(0.25, None, 1)


def test_no_values_are_null_and_not_zero() -> None:
    assert Score.of(np.zeros(0), skipped=2) == Score(None, None, 0, 2)
