"""One masked vector looks like noise, with either kind of mask alone.

The masks are drawn from the operating system, so each test compares a fixed number of independent trials with a level
that chance goes below once in ten million runs; a control shows that the level catches what is not uniform.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from fedmetric.privacy.secure.client import ClientRound
from fedmetric.privacy.secure.fixed_point import encode
from fedmetric.privacy.secure.masks import expand, pair_seed
from fedmetric.privacy.secure.terms import Terms

LENGTH, TRIALS, LEVEL = 4096, 12, 1e-9
TERMS = Terms("mine", 4, 4, 3, LENGTH, 1.0)
VECTORS = {
    "zero": np.zeros(LENGTH),
    "clip": np.eye(1, LENGTH)[0],
    "random": np.random.default_rng(2).normal(size=LENGTH) / 80,
}


def p_value(words: NDArray[np.uint32]) -> float:
    """Return the chance that uniform bytes are as uneven as these or more: Pearson's chi-square with 255 degrees."""
    return float(stats.chisquare(np.bincount(words.view(np.uint8), minlength=256)).pvalue)


class Masked:
    """Client 1's masked vector among four, its self mask, and the sum of its pairwise masks."""

    def __init__(self, vector: NDArray[np.float64]) -> None:
        clients = [ClientRound(TERMS, client) for client in range(4)]
        advertised = [client.advertise(lambda _: b"") for client in clients]
        sent = [client.share(advertised, lambda *_: True) for client in clients]
        state = clients[1].state
        self.own, self.pairwise = expand(state.self_seed, LENGTH), np.zeros(LENGTH, dtype=np.uint32)
        for other in (0, 2, 3):
            mask = expand(pair_seed(TERMS, state.mask_private, advertised[other].mask_key, 1, other), LENGTH)
            self.pairwise = self.pairwise + mask if other > 1 else self.pairwise - mask
        self.words = clients[1].mask(vector, {other: sent[other][1] for other in (0, 2, 3)})


def masked(vector: NDArray[np.float64]) -> NDArray[np.uint32]:
    return Masked(vector).words


@pytest.mark.parametrize("name", VECTORS)
def test_a_masked_vector_is_uniform(name: str) -> None:
    found = [p_value(masked(VECTORS[name])) for _ in range(TRIALS)]
    assert min(found) > LEVEL
    assert max(found) > 1e-2


@pytest.mark.parametrize("name", VECTORS)
def test_the_same_vector_not_masked_is_caught(name: str) -> None:
    assert p_value(encode(VECTORS[name], TERMS.clip, TERMS.num_clients)) < LEVEL


@pytest.mark.parametrize("name", VECTORS)
def test_a_masked_vector_is_that_of_the_papers_equation(name: str) -> None:
    """The vector, plus its self mask, plus the masks of clients 2 and 3, minus that of client 0."""
    found = Masked(VECTORS[name])
    encoded = encode(VECTORS[name], TERMS.clip, TERMS.num_clients)
    assert found.words.tolist() == (encoded + found.own + found.pairwise).tolist()


def test_without_its_self_mask_a_vector_is_still_uniform() -> None:
    """What the server has of a survivor, whose seed it recovers: the pairwise masks hide it."""
    trials = [Masked(VECTORS["zero"]) for _ in range(TRIALS)]
    assert min(p_value(found.words - found.own) for found in trials) > LEVEL


def test_without_its_pairwise_masks_a_vector_is_still_uniform() -> None:
    """What the server has of a client that is late, whose key it recovered: the self mask hides it."""
    trials = [Masked(VECTORS["zero"]) for _ in range(TRIALS)]
    assert min(p_value(found.words - found.pairwise) for found in trials) > LEVEL


def test_two_maskings_of_the_same_vector_are_independent() -> None:
    """Equal words are as rare as chance has them, and the difference is uniform as well."""
    one, other = masked(VECTORS["random"]), masked(VECTORS["random"])
    assert (one == other).sum() <= 2
    assert p_value(one - other) > LEVEL


def test_every_single_number_of_a_vector_is_uniform_over_maskings() -> None:
    """The first number's top byte over 512 expansions of fresh masks, in 16 bins of 32 expected."""
    tops = [int(masked(VECTORS["clip"])[0]) >> 28 for _ in range(512)]
    assert stats.chisquare(np.bincount(tops, minlength=16)).pvalue > LEVEL
