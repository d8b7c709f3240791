"""What every registered sampler must do, whatever its name."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from fedmetric.registry import samplers
from fedmetric.sampling.base import Sampler

NAMES = sorted(samplers)
CLIENTS = {
    "even": np.repeat(np.arange(6), 5),
    "skewed": np.repeat(np.arange(4), [20, 5, 2, 1]),
    "singletons": np.arange(17),
    "one class": np.zeros(11, np.int64),
    "one image": np.zeros(1, np.int64),
    "no labels": np.full(13, -1),
    "some labels": np.concatenate([np.repeat([7, 3], 6), np.full(9, -1)]),
    "large ids": np.repeat(np.array([2**24, 2**24 + 1, 2**40]), 4),
}
CASES = [(labels, size) for labels in CLIENTS.values() for size in (1, 2, 7, 64)]


def build(name: str, **options: object) -> Sampler:
    return cast(Sampler, samplers.build(samplers[name].options(**options)))


def epoch(sampler: Sampler, labels: np.ndarray, size: int, seed: int = 1) -> list[list[int]]:
    return [batch.tolist() for batch in sampler.epoch(labels, size, np.random.default_rng(seed))]


def test_the_built_in_samplers_are_registered() -> None:
    assert {"shuffled", "balanced", "inverse-frequency"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("labels", "size"), CASES)
def test_an_epoch_is_whole_batches_of_different_images(name: str, labels: np.ndarray, size: int) -> None:
    size = min(size, len(labels))
    found = epoch(build(name), labels, size)
    assert len(found) == len(labels) // size
    for batch in found:
        assert len(batch) == size
        assert len(set(batch)) == size
        assert set(batch) <= set(range(len(labels)))


@pytest.mark.parametrize("name", NAMES)
def test_an_epoch_is_a_pure_function_of_its_generator(name: str) -> None:
    labels = CLIENTS["even"]
    first = epoch(build(name), labels, 7)
    np.random.seed(3)
    assert epoch(build(name), labels, 7) == first
    assert epoch(build(name), labels, 7, seed=2) != first


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("client", ["even", "skewed", "some labels", "no labels"])
def test_every_image_is_seen_sooner_or_later(name: str, client: str) -> None:
    labels = CLIENTS[client]
    seen = {image for seed in range(60) for batch in epoch(build(name), labels, 6, seed) for image in batch}
    assert seen == set(range(len(labels)))
