"""Shuffled batches."""

from __future__ import annotations

import numpy as np

from fedmetric.sampling.shuffled import Shuffled


def test_an_epoch_is_a_permutation_but_for_the_incomplete_batch() -> None:
    found = list(Shuffled().epoch(np.zeros(10, np.int64), 4, np.random.default_rng(1)))
    assert np.concatenate(found).tolist() == np.random.default_rng(1).permutation(10)[:8].tolist()
