from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Generator, Tensor

from fedmetric.errors import ConfigError, DataError
from fedmetric.privacy.audit.intervals import clopper_pearson
from fedmetric.privacy.audit.inversion import (
    direction_cost,
    fit_inverter,
    identification_rate,
    invert_update,
    total_variation,
)

SIDE = 6
SHAPE = (1, 1, SIDE, SIDE)


def rng(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def images_of(num: int, seed: int) -> Tensor:
    return torch.rand((num, 1, SIDE, SIDE), generator=rng(seed))


def rows(num: int) -> np.ndarray:
    return np.arange(num, dtype=np.int64)


class Client:
    """One gradient step of a small network on the squared norm of its output, with the weights of a seed."""

    def __init__(self, seed: int = 0) -> None:
        generator = rng(seed)
        self.weights = [
            torch.randn((8, SIDE * SIDE), generator=generator).div(SIDE).requires_grad_(),
            torch.randn(8, generator=generator).requires_grad_(),
            torch.randn((4, 8), generator=generator).requires_grad_(),
        ]

    def __call__(self, images: Tensor) -> Sequence[Tensor]:
        hidden, bias, last = self.weights
        loss = (torch.tanh(images.flatten(1) @ hidden.T + bias) @ last.T).square().sum()
        return torch.autograd.grad(loss, self.weights, create_graph=True)


GALLERY = images_of(40, 0)


def test_images_themselves_are_all_identified() -> None:
    found = identification_rate(GALLERY[:25], GALLERY, rows(25))
    assert (found.rate, found.high, found.chance) == (1, 1, 1 / 40)
    assert found.low == found.ceiling == pytest.approx(0.025 ** (1 / 25))
    assert (found.num_queries, found.num_gallery) == (25, 40)


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("seed", range(1, 4))
def test_noise_identifies_as_a_guess_does(seed: int, distance: str) -> None:
    found = identification_rate(images_of(200, seed), GALLERY, rows(200) % 40, distance)  # type: ignore[arg-type]
    assert found.low <= found.chance <= found.high
    assert found.high < 0.1


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_the_rate_is_that_of_all_distances_one_by_one(distance: str) -> None:
    noise = 0.6 * torch.randn((40, 1, SIDE, SIDE), generator=rng(3))
    blurred, found = GALLERY + noise, 0
    for row, asked in enumerate(blurred):
        if distance == "euclidean":
            gaps = [float((asked - known).double().norm()) for known in GALLERY]
        else:
            gaps = [-float(torch.cosine_similarity(asked.flatten(), known.flatten(), dim=0)) for known in GALLERY]
        found += min(range(40), key=gaps.__getitem__) == row
    got = identification_rate(blurred, GALLERY, rows(40), distance)  # type: ignore[arg-type]
    assert 0 < found < 40
    assert got.rate == found / 40
    assert (got.low, got.high) == clopper_pearson(found, 40)


def test_the_length_of_an_embedding_counts_for_euclidean_distance_only() -> None:
    """Asked is (9, 4), at 24 degrees. (1, 0.4) is at 22 degrees, 8.8 away; (9, 1) at 6 degrees, 3 away."""
    asked, gallery = torch.tensor([[9.0, 4]]), torch.tensor([[1.0, 0.4], [9, 1]])
    assert identification_rate(asked, gallery, np.array([0]), "cosine").rate == 1
    assert identification_rate(asked, gallery, np.array([0])).rate == 0
    assert identification_rate(asked, gallery, np.array([1])).rate == 1


def test_ties_count_against_the_attack() -> None:
    copies = torch.cat([GALLERY, GALLERY[:3]])
    assert identification_rate(GALLERY[:3], copies, rows(3)).rate == 0
    assert identification_rate(GALLERY[:3], copies, rows(3), "cosine").rate == 0
    grey = torch.full((40, 1, SIDE, SIDE), 0.5)
    assert identification_rate(grey, GALLERY, rows(40)).rate <= 1 / 40
    assert identification_rate(torch.zeros(1, 2), torch.tensor([[1.0, 0], [0, 1]]), rows(1), "cosine").rate == 0


def test_a_linear_encoder_with_room_is_inverted() -> None:
    public, mixing = images_of(300, 5), torch.randn((SIDE * SIDE, SIDE * SIDE), generator=rng(6)).double()

    def embed(images: Tensor) -> Tensor:
        return images.double().flatten(1) @ mixing + 3

    invert = fit_inverter(embed(public), public, 1e-6)
    assert invert(embed(GALLERY)) == pytest.approx(GALLERY.double(), abs=1e-4)
    assert identification_rate(invert(embed(GALLERY)), GALLERY, rows(40)).rate == 1


def test_an_embedding_of_noise_is_not_inverted() -> None:
    public = images_of(300, 5)
    invert = fit_inverter(torch.randn((300, 16), generator=rng(1)), public, 1.0)
    found = identification_rate(invert(torch.randn((40, 16), generator=rng(2))), GALLERY, rows(40))
    assert found.low <= found.chance <= found.high


@pytest.mark.parametrize("penalty", [0.1, 10.0])
def test_the_inverter_is_ridge_regression(penalty: float) -> None:
    embeddings, pixels = torch.randn((50, 7), generator=rng(1)), images_of(50, 2)
    oracle = Ridge(alpha=penalty).fit(embeddings.double().numpy(), pixels.double().flatten(1).numpy())
    asked = torch.randn((9, 7), generator=rng(3))
    got = fit_inverter(embeddings, pixels, penalty)(asked)
    assert got.shape == (9, 1, SIDE, SIDE)
    assert got.flatten(1).numpy() == pytest.approx(oracle.predict(asked.double().numpy()), abs=1e-9)


def test_a_penalty_without_end_leaves_the_mean_image() -> None:
    public = images_of(50, 2)
    invert = fit_inverter(torch.randn((50, 7), generator=rng(1)), public, 1e15)
    assert invert(torch.randn((3, 7), generator=rng(3)))[1].numpy() == pytest.approx(
        public.double().mean(dim=0).numpy(), abs=1e-9
    )


def test_the_update_of_one_image_gives_the_image_away() -> None:
    client = Client()
    found = [invert_update(client, client(GALLERY[row : row + 1]), SHAPE, rng(row)) for row in range(3)]
    reconstructed = torch.cat(found)
    assert float((reconstructed - GALLERY[:3]).abs().mean()) < 0.05
    assert identification_rate(reconstructed, GALLERY, rows(3)).rate == 1


@pytest.mark.parametrize(("num_steps", "decays", "best_is_last"), [(20, (8, 12, 18), True), (2, (1, 1, 2), False)])
def test_the_search_is_adam_on_signs_in_a_box_with_three_decays(
    num_steps: int, decays: tuple[int, ...], best_is_last: bool
) -> None:
    """Steps by hand, the rate divided by ten after 3/8, 5/8 and 7/8 of them (7.5, 12.5, 17.5 are rounded to even).

    Two steps are too few: the first is as long as an early one is, and the start is better than where it leads.
    """
    learning_rate = 0.1 if best_is_last else 1.0
    client, observed = Client(), Client()(3 * GALLERY[:1] - 1)
    image, mean, square, visited = torch.rand(SHAPE, generator=rng(0)), 0.0, 0.0, []
    for step in range(1, num_steps + 1):
        image.requires_grad_()
        cost = direction_cost(client(image), observed) + 1e-4 * total_variation(image)
        visited.append((float(cost.detach()), image.detach()))
        sign = torch.autograd.grad(cost, image)[0].sign()
        mean, square = 0.9 * mean + 0.1 * sign, 0.999 * square + 0.001 * sign**2
        rate = learning_rate * 0.1 ** sum(step > decay for decay in decays)
        change = rate * (mean / (1 - 0.9**step)) / ((square / (1 - 0.999**step)).sqrt() + 1e-8)
        image = (image.detach() - change).clamp(0, 1)
    best = min(visited, key=lambda pair: pair[0])[1]
    assert torch.equal(best, visited[-1][1]) == best_is_last
    got = invert_update(client, observed, SHAPE, rng(0), steps=num_steps, learning_rate=learning_rate)
    assert torch.allclose(got, best, atol=1e-5)


def test_an_update_drowned_in_noise_gives_nothing_away() -> None:
    client, found = Client(), []
    for row in range(16):
        generator = rng(100 + row)
        update = [
            tensor + 1000 * torch.randn(tensor.shape, generator=generator) for tensor in client(GALLERY[row : row + 1])
        ]
        found.append(invert_update(client, update, SHAPE, generator, steps=60))
    scored = identification_rate(torch.cat(found), GALLERY, rows(16))
    assert scored.low <= scored.chance <= scored.high
    assert scored.high < 0.5


def test_the_length_of_the_update_does_not_matter_and_the_generator_decides_all() -> None:
    client = Client()
    update = client(GALLERY[:1])
    one, same, other = (invert_update(client, update, SHAPE, rng(seed), steps=20) for seed in (0, 0, 1))
    halved = invert_update(client, [tensor / 2 for tensor in update], SHAPE, rng(0), steps=20)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.allclose(one, halved, atol=1e-4)
    assert 0 <= one.min() <= one.max() <= 1


def test_a_large_smoothness_leaves_a_flat_image() -> None:
    client = Client()
    update = client(GALLERY[:1])
    rough, flat = (invert_update(client, update, SHAPE, rng(0), smoothness=weight) for weight in (0.0, 100.0))
    assert float(total_variation(flat)) < 0.1 < float(total_variation(rough))


def test_total_variation_as_by_hand() -> None:
    """[[0, 1], [3, 1]]: vertical differences 3 and 0, horizontal 1 and 2: 1.5 + 1.5."""
    assert float(total_variation(torch.tensor([[[[0.0, 1], [3, 1]]]]))) == 3


def test_the_cost_is_one_minus_the_cosine_of_the_updates_as_one_vector() -> None:
    """(1, 0 | 0) against (1, 0 | 1) is at 45 degrees."""
    first, second = [torch.tensor([1.0, 0]), torch.zeros(1, 1)], [torch.tensor([1.0, 0]), torch.ones(1, 1)]
    assert float(direction_cost(first, second)) == pytest.approx(1 - 0.5**0.5)
    assert float(direction_cost(first, first)) == pytest.approx(0)
    assert float(direction_cost(first, [-tensor for tensor in first])) == pytest.approx(2)
    assert float(direction_cost([torch.zeros(2), torch.zeros(1, 1)], second)) == 1


def test_what_cannot_be_inverted_is_refused() -> None:
    client = Client()
    with pytest.raises(DataError, match="no direction to match"):
        invert_update(client, [torch.zeros(3)], SHAPE, rng(0))
    with pytest.raises(DataError, match="no direction to match"):
        invert_update(client, [], SHAPE, rng(0))
    with pytest.raises(DataError, match="other tensors than the observed"):
        invert_update(client, [torch.ones(3)], SHAPE, rng(0))
    with pytest.raises(ConfigError, match="steps=0"):
        invert_update(client, client(GALLERY[:1]), SHAPE, rng(0), steps=0)
    with pytest.raises(ConfigError, match="penalty=0"):
        fit_inverter(torch.ones(2, 2), torch.ones(2, 3), 0)
    with pytest.raises(DataError, match=r"\(3, 2\) embeddings of \(2, 3\) images"):
        fit_inverter(torch.ones(3, 2), torch.ones(2, 3), 1)


def test_what_cannot_be_identified_is_refused() -> None:
    with pytest.raises(DataError, match="one shape"):
        identification_rate(torch.ones(2, 3), torch.ones(4, 5), rows(2))
    with pytest.raises(DataError, match="one index"):
        identification_rate(torch.ones(2, 3), torch.ones(4, 3), rows(3))
    with pytest.raises(DataError, match="indices 0 to 4 but the gallery has 4"):
        identification_rate(torch.ones(5, 3), torch.ones(4, 3), rows(5))
    with pytest.raises(DataError, match="not finite"):
        identification_rate(torch.full((2, 3), torch.nan), torch.ones(4, 3), rows(2))
    with pytest.raises(ConfigError, match="distance 'manhattan'"):
        identification_rate(torch.ones(2, 3), torch.ones(4, 3), rows(2), "manhattan")  # type: ignore[arg-type]
