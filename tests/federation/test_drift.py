"""Distances between weights, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.federation.drift import distance, kept, layer_drift

BEFORE = {"a": np.zeros((1, 2), np.float32), "b": np.zeros(1, np.float32), "c": np.array(7)}
AFTER = {"a": np.array([[3, 4]], np.float32), "b": np.array([12], np.float32), "c": np.array(9)}


def test_the_distance_is_that_of_all_named_tensors_as_one_vector() -> None:
    """(3, 4) and 12: 5, 12 and together 13."""
    assert distance(BEFORE, AFTER, ["a"]) == 5
    assert distance(BEFORE, AFTER, ["a", "b"]) == 13
    assert distance(BEFORE, BEFORE, ["a", "b"]) == 0


def test_the_drift_is_the_mean_over_layers() -> None:
    """(5 + 12) / 2 = 8.5; layers that did not travel are left out."""
    assert layer_drift(BEFORE, AFTER, ("a", "b")) == 8.5
    assert layer_drift(BEFORE, AFTER, ("a", "elsewhere")) == 5
    assert layer_drift(BEFORE, AFTER, ()) == 0


def test_distances_are_taken_in_float64() -> None:
    """The squares of 1e-30 vanish in float32."""
    assert distance({"w": np.zeros(1, np.float32)}, {"w": np.full(1, 1e-30, np.float32)}, ["w"]) == pytest.approx(1e-30)


def test_what_was_kept_under_a_prefix_is_read_without_it() -> None:
    memory = {"online.w": np.ones(1), "online.x": np.zeros(1), "drift": np.ones(()), "line.w": np.ones(1)}
    assert set(kept(memory, "online.")) == {"w", "x"}
