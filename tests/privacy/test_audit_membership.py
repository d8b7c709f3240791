from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from fedmetric.errors import ConfigError, DataError
from fedmetric.privacy.audit.intervals import Attack
from fedmetric.privacy.audit.membership import (
    calibrated_similarity,
    controls_work,
    mean_pairwise_cosine,
    view_similarity,
)

SIDE = 8


def rng(seed: int) -> Generator:
    return Generator().manual_seed(seed)


def random_images(num: int, seed: int) -> Tensor:
    return torch.rand((num, 1, SIDE, SIDE), generator=rng(seed))


def noisy(images: Tensor, generator: Generator) -> Tensor:
    """A view is the image with a tenth of noise: nearest neighbours in pixels still find the image."""
    return images + 0.1 * torch.randn(images.shape, generator=generator)


def random_encoder(seed: int) -> torch.nn.Module:
    weights = torch.randn((SIDE * SIDE, 16), generator=rng(seed))
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(SIDE * SIDE, 16), torch.nn.Tanh()).eval()
    encoder[1].weight.data.copy_(weights.T / SIDE)
    encoder[1].bias.data.zero_()
    return encoder


class Memorising:
    """Maps views of a member to that member's own point, and everything else to noise made from the pixels."""

    def __init__(self, members: Tensor) -> None:
        self.members = members.flatten(1)
        self.points = torch.randn((len(members), 16), generator=rng(11))

    def __call__(self, images: Tensor) -> Tensor:
        distance, nearest = torch.cdist(images.flatten(1), self.members).min(dim=1)
        scrambled = torch.sin(1e4 * images.flatten(1)[:, :16])
        return torch.where((distance < 1.5)[:, None], self.points[nearest], scrambled)


def attack(embed: object, members: Tensor, others: Tensor) -> Attack:
    scores = [view_similarity(embed, some, noisy, 6, rng(5)) for some in (members, others)]  # type: ignore[arg-type]
    return Attack.of("encodermi", *scores)


MEMBERS, OTHERS = random_images(150, 1), random_images(150, 2)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_encoder_knows_no_member(seed: int) -> None:
    found = attack(random_encoder(seed), MEMBERS, OTHERS)
    assert found.auc_low <= 0.5 <= found.auc_high
    assert found.auc_high - found.auc_low < 0.2


def test_a_constant_encoder_is_a_coin() -> None:
    assert attack(lambda images: torch.ones(len(images), 4), MEMBERS, OTHERS).auc == 0.5


def test_a_memorising_encoder_is_found_out() -> None:
    found = attack(Memorising(MEMBERS), MEMBERS, OTHERS)
    assert found.auc >= 0.9
    assert found.auc_low > 0.85
    assert found.tpr_low is not None
    assert found.tpr_low > 0.5


def test_an_audit_proves_something_only_with_both_controls() -> None:
    negative, positive = attack(random_encoder(0), MEMBERS, OTHERS), attack(Memorising(MEMBERS), MEMBERS, OTHERS)
    assert controls_work(negative, positive)
    assert not controls_work(negative, negative)
    assert not controls_work(positive, positive)


def test_the_score_is_the_mean_cosine_of_all_pairs_of_views() -> None:
    encoder, images, generator = random_encoder(0), random_images(5, 3), rng(9)
    got = view_similarity(encoder, images, noisy, 4, generator)
    again, views = rng(9), []
    for _ in range(4):
        views.append(encoder(noisy(images, again)).detach())
    for row in range(5):
        pairs = [
            torch.cosine_similarity(views[i][row], views[j][row], dim=0) for i in range(4) for j in range(4) if i < j
        ]
        assert got[row] == pytest.approx(float(torch.stack(pairs).mean()), abs=1e-6)


def test_points_on_a_circle_as_by_eye() -> None:
    """Three views at 0, 60 and 120 degrees: cosines 1/2, 1/2, -1/2. Lengths do not matter; a zero vector is at 0."""
    angles = torch.deg2rad(torch.tensor([0.0, 60, 120]))
    circle = torch.stack([angles.cos(), angles.sin()], dim=1) * torch.tensor([1.0, 5, 0.1])[:, None]
    zero = torch.tensor([[1.0, 0], [1, 0], [0, 0]])
    assert mean_pairwise_cosine(torch.stack([circle, zero], dim=1)).tolist() == pytest.approx([1 / 6, 1 / 3])


def test_views_that_are_the_image_score_1() -> None:
    scores = view_similarity(random_encoder(0), MEMBERS, lambda images, generator: images, 3, rng(0))
    assert scores == pytest.approx(1)


def test_an_encoder_is_its_own_calibration() -> None:
    encoder = random_encoder(0)
    assert calibrated_similarity(encoder, [encoder], MEMBERS, noisy, 4, rng(0)) == pytest.approx(0, abs=1e-12)


def test_a_calibrated_score_is_the_score_less_the_mean_of_the_references_on_the_same_views() -> None:
    encoder, first, second = (random_encoder(seed) for seed in range(3))
    got = calibrated_similarity(encoder, [first, second], MEMBERS, noisy, 4, rng(0))
    own, one, other = (view_similarity(some, MEMBERS, noisy, 4, rng(0)) for some in (encoder, first, second))
    assert got == pytest.approx(own - (one + other) / 2, abs=1e-9)


def test_calibration_finds_members_among_images_of_unequal_difficulty() -> None:
    """Noise grows with an image's brightness, so brightness decides the plain score; members gain a little each."""
    members, others = (images * torch.linspace(0.2, 2, 150)[:, None, None, None] for images in (MEMBERS, OTHERS))
    plain, known = random_encoder(0), {round(float(image.sum()), 3) for image in members}

    def views(images: Tensor, generator: Generator) -> Tensor:
        noise = torch.randn(images.shape, generator=generator) * images.mean(dim=(1, 2, 3), keepdim=True) ** 2
        marks = torch.tensor([[round(float(image.sum()), 3) in known] for image in images], dtype=torch.float32)
        return torch.cat([(images + noise).flatten(1), marks], dim=1)[:, None, None, :]

    def reference(seen: Tensor) -> Tensor:
        return plain(seen.flatten(1)[:, :-1])

    def target(seen: Tensor) -> Tensor:
        """A member's views are pulled a little towards one point."""
        return reference(seen) + 0.3 * seen.flatten(1)[:, -1:]

    areas = []
    for score in (
        lambda images: view_similarity(target, images, views, 6, rng(4)),
        lambda images: calibrated_similarity(target, [reference], images, views, 6, rng(4)),
    ):
        areas.append(Attack.of("a", score(members), score(others)))
    assert areas[1].auc_low > areas[0].auc_high


def test_equal_generators_give_equal_scores_and_others_do_not() -> None:
    encoder = random_encoder(0)
    first, same, other = (view_similarity(encoder, MEMBERS, noisy, 2, rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_batches_do_not_matter_where_views_are_not_random() -> None:
    encoder = random_encoder(0)
    shifts = iter(range(1000))

    def rolled(images: Tensor, generator: Generator) -> Tensor:
        return images.roll(next(shifts) % 2, dims=3)

    whole = view_similarity(encoder, MEMBERS, rolled, 2, rng(0))
    assert view_similarity(encoder, MEMBERS, rolled, 2, rng(0), batch=7) == pytest.approx(whole, abs=1e-6)
    assert view_similarity(encoder, MEMBERS[:0], rolled, 2, rng(0)).shape == (0,)


def test_what_cannot_be_scored_is_refused() -> None:
    encoder = random_encoder(0)
    with pytest.raises(ConfigError, match="num_views=1"):
        view_similarity(encoder, MEMBERS, noisy, 1, rng(0))
    with pytest.raises(ConfigError, match="without reference encoders"):
        calibrated_similarity(encoder, [], MEMBERS, noisy, 2, rng(0))
    with pytest.raises(DataError, match="not finite"):
        view_similarity(lambda images: torch.full((len(images), 2), torch.nan), MEMBERS, noisy, 2, rng(0))
