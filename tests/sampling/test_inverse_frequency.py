"""Weighted drawing."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.sampling.inverse_frequency import InverseFrequency


def drawn(labels: np.ndarray, size: int = 1, epochs: int = 40) -> np.ndarray:
    generator = np.random.default_rng(1)
    return np.concatenate([batch for _ in range(epochs) for batch in InverseFrequency().epoch(labels, size, generator)])


def test_rare_classes_are_drawn_as_often_as_frequent_ones() -> None:
    labels = np.repeat(np.arange(3), [80, 16, 4])
    shares = np.bincount(labels[drawn(labels)]) / 4000
    assert shares == pytest.approx([1 / 3] * 3, abs=4 * (2 / 9 / 4000) ** 0.5)


def test_images_without_a_label_keep_their_share() -> None:
    labels = np.concatenate([np.full(50, -1), np.repeat([0, 1], [40, 10])])
    share = float((labels[drawn(labels)] == -1).mean())
    assert share == pytest.approx(0.5, abs=4 * (0.25 / 4000) ** 0.5)
