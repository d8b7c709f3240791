from __future__ import annotations

import itertools

import numpy as np
import pytest

from fedmetric.evaluation import pairs as module
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.pairs import Pairs, distinct_numbers, draw_pairs, pair_similarities
from oracles.geometry import cloud
from oracles.retrieval import cosine

LABELS = np.array([7, 3, 7, 5, 3, 7, 2**24, 2**24 + 1])


def as_sets(pairs: Pairs) -> tuple[set[frozenset[int]], set[frozenset[int]]]:
    found = [frozenset(pair) for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)]
    assert all(len(pair) == 2 for pair in found), "an image is paired with itself"
    assert len(set(found)) == len(found), "a pair stands in twice"
    genuine = pairs.genuine.tolist()
    return tuple({pair for pair, its in zip(found, genuine, strict=True) if its == kind} for kind in (True, False))


def test_few_images_give_all_pairs() -> None:
    """Classes 7, 3 and 5 of sizes 3, 2, 1 and two ids that float32 would merge: 3 + 1 genuine of 28 pairs."""
    genuine, impostor = as_sets(draw_pairs(LABELS, seed=1))
    everything = itertools.combinations(range(8), 2)
    assert genuine == {frozenset(pair) for pair in everything if LABELS[pair[0]] == LABELS[pair[1]]}
    assert (len(genuine), len(impostor)) == (4, 24)


@pytest.mark.parametrize("bound", [1, 7, 40, 100, 180])
def test_each_kind_is_bounded_and_what_is_drawn_is_what_it_says(bound: int) -> None:
    """Four classes of ten: 180 genuine and 600 impostor pairs."""
    labels = np.random.default_rng(0).permutation(np.repeat([7, 3, 5, 9], 10))
    pairs = draw_pairs(labels, seed=1, bound=bound)
    genuine, impostor = as_sets(pairs)
    assert (len(genuine), len(impostor)) == (bound, bound)
    assert (labels[pairs.first] == labels[pairs.second]).tolist() == pairs.genuine.tolist()


def test_every_pair_of_a_kind_is_drawn_equally_often() -> None:
    """Classes of 2, 3 and 5 have 14 genuine and 31 impostor pairs; 600 draws of 7 give 300 and 135 on average."""
    labels = np.repeat([1, 2, 3], [2, 3, 5])
    counts: dict[frozenset[int], int] = {}
    for seed in range(600):
        for pair in set.union(*as_sets(draw_pairs(labels, seed, bound=7))):
            counts[pair] = counts.get(pair, 0) + 1
    genuine = [count for pair, count in counts.items() if len(set(labels[list(pair)])) == 1]
    impostor = [count for pair, count in counts.items() if len(set(labels[list(pair)])) == 2]
    assert (len(genuine), len(impostor)) == (14, 31)
    assert 230 < min(genuine) <= max(genuine) < 370
    assert 85 < min(impostor) <= max(impostor) < 190


def test_the_seed_alone_decides_the_draw() -> None:
    labels = np.repeat(np.arange(10), 10)
    first, again, other = (as_sets(draw_pairs(labels, seed, bound=50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(("labels", "numbers"), [([], (0, 0)), ([4], (0, 0)), ([4, 4, 4], (3, 0)), ([1, 2, 3], (0, 3))])
def test_a_kind_without_pairs_is_empty(labels: list[int], numbers: tuple[int, int]) -> None:
    genuine, impostor = as_sets(draw_pairs(np.array(labels, np.int64), seed=1))
    assert (len(genuine), len(impostor)) == numbers


@pytest.mark.parametrize(("total", "size"), [(10, 10), (10, 7), (10**12, 1000), (2001, 1000)])
def test_numbers_are_distinct_in_range_and_ascending(total: int, size: int) -> None:
    drawn = distinct_numbers(total, size, np.random.default_rng(0))
    assert len(drawn) == size
    assert (np.diff(drawn) > 0).all()
    assert 0 <= drawn.min() <= drawn.max() < total


def test_similarities_are_those_of_the_pair_and_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    points, labels = cloud(30, 4, 0), np.random.default_rng(1).integers(0, 5, 30)
    images, pairs = Labelled(points, labels), draw_pairs(labels, seed=1)
    found = pair_similarities(images, pairs)
    for first, second, value in zip(pairs.first, pairs.second, found, strict=True):
        assert value == pytest.approx(cosine(points[first].tolist(), points[second].tolist()), abs=1e-6)
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 30 * 7)
    assert np.array_equal(pair_similarities(images, pairs), found)
