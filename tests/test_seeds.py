"""Generators that are a pure function of five coordinates."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from fedmetric.seeds import derive_seed, numpy_generator, torch_generator


def test_seeds_stay_what_they_were() -> None:
    """Runs can be repeated by later versions only while these numbers stay."""
    assert derive_seed(1, "views", round=2, client=3, step=4) == 3680445614921378407
    assert derive_seed(0, "") == 6817484143870388655


def test_every_coordinate_counts() -> None:
    seeds = [
        derive_seed(seed, purpose, round=round, client=client, step=step)
        for seed in (0, 1, 11)
        for purpose in ("views", "order")
        for round in (0, 1, 11)
        for client in (0, 1, 11)
        for step in (0, 1, 11)
    ]
    assert len(set(seeds)) == len(seeds) == 162


def test_seeds_fit_into_63_bits_and_use_them() -> None:
    seeds = [derive_seed(seed, "x") for seed in range(300)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62
    assert np.bitwise_or.reduce(np.array(seeds)) == 2**63 - 1


def test_numbers_of_other_steps_are_uncorrelated() -> None:
    """The correlation of 4000 independent pairs has a deviation of 0.016."""
    first = [numpy_generator(1, "x", step=step).random() for step in range(4000)]
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.07
    assert np.mean(first) == pytest.approx(0.5, abs=0.03)


def test_whole_numbers_of_any_library_are_the_same_coordinates() -> None:
    assert derive_seed(np.int64(1), "x", client=np.int32(2)) == derive_seed(1, "x", client=2)  # type: ignore[arg-type]


def test_equal_coordinates_give_equal_generators() -> None:
    first, second = (torch.rand(5, generator=torch_generator(1, "a", round=2)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(5, generator=torch_generator(1, "a", round=3)))
    assert numpy_generator(3, "b").random() == numpy_generator(3, "b").random()
    assert numpy_generator(3, "b").random() != numpy_generator(3, "c").random()


def test_process_wide_generators_are_left_alone() -> None:
    before = (torch.get_rng_state(), random.getstate(), str(np.random.get_state()))
    torch.rand(3, generator=torch_generator(1, "a"))
    numpy_generator(1, "a").random(3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), str(np.random.get_state())) == before[1:]
