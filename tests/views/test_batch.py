"""Amounts of the built-in views: zero changes nothing, one changes every image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor

from fedmetric.views import batch
from fedmetric.views.base import chosen, uniform
from fedmetric.views.batch import CROP_RATIO, Geometry, GlyphViews, NaturalViews, NoViews
from fedmetric.views.colour import solarise
from fedmetric.views.geometry import affine_matrices, crop_matrices, flip_matrices, resample

Pictures = Callable[..., Tensor]
STILL = {"crop": (1.0, 1.0), "flip": 0.0, "jitter": 0.0, "grayscale": 0.0}


def glyphs(**options: object) -> GlyphViews:
    return GlyphViews(**({"rotation": 0, "translation": 0, "scaling": (1.0, 1.0), "shear": 0} | options))  # type: ignore[arg-type]


def natural(**options: object) -> NaturalViews:
    return NaturalViews(**(STILL | options))  # type: ignore[arg-type]


def test_natural_views_of_no_amount_are_the_images(pictures: Pictures, generator: Generator) -> None:
    images = pictures(4)
    assert torch.equal(natural()(images, generator), images)


def test_glyph_views_of_no_amount_are_the_images(pictures: Pictures, generator: Generator) -> None:
    images = pictures(4, 1)
    assert torch.equal(glyphs()(images, generator), images)


def test_no_views_are_the_images(pictures: Pictures, generator: Generator) -> None:
    images = pictures(2)
    assert torch.equal(NoViews()(images, generator), images)


def test_a_certain_flip_mirrors_every_image(pictures: Pictures, generator: Generator) -> None:
    images = pictures(4)
    assert torch.allclose(natural(flip=1.0)(images, generator), images.flip(3), atol=1e-5)


def test_certain_grayscale_makes_channels_equal(pictures: Pictures, generator: Generator) -> None:
    red, green, blue = natural(grayscale=1.0)(pictures(4), generator).unbind(1)
    assert torch.equal(red, green)
    assert torch.equal(green, blue)


def test_certain_solarisation_falls_on_every_image(pictures: Pictures, generator: Generator) -> None:
    images = pictures(4)
    assert torch.equal(natural(solarise=1.0)(images, generator), solarise(images))


@pytest.mark.parametrize("build", [natural, glyphs])
def test_certain_blur_lowers_the_deviation_of_every_image(
    build: Callable[..., GlyphViews | NaturalViews], generator: Generator
) -> None:
    images = torch.rand((30, 1, 32, 32), generator=Generator().manual_seed(0))
    assert (build(blur=1.0)(images, generator).std((1, 2, 3)) <= images.std((1, 2, 3)) + 1e-6).all()
    assert torch.equal(build(blur=0.0)(images, generator), images)


def test_half_a_probability_falls_on_about_half_of_the_images(pictures: Pictures, generator: Generator) -> None:
    images = pictures(1).repeat(600, 1, 1, 1)
    grey = natural(grayscale=0.5)(images, generator)
    share = (grey[:, 0] == grey[:, 1]).flatten(1).all(1).float().mean()
    assert float(share) == pytest.approx(0.5, abs=0.08)


def test_moved_images_are_black_outside_and_cropped_ones_repeat_their_edge(generator: Generator) -> None:
    white = torch.ones(50, 1, 16, 16)
    moved = Geometry((1.0, 1.0), 0, 0.3, (1.0, 1.0), 0, 0)(white, generator)
    cropped = Geometry((0.2, 1.0), 0, 0, (1.0, 1.0), 0, 0.5)(white, generator)
    assert moved.min() == 0
    assert torch.allclose(cropped, white)


def test_a_turned_image_has_black_corners_and_a_whole_middle(generator: Generator) -> None:
    white = torch.ones(80, 1, 16, 16)
    turned = Geometry((1.0, 1.0), 45, 0, (1.0, 1.0), 0, 0)(white, generator)
    assert float(turned[:, 0, 0, 0].mean()) < 0.5
    assert torch.allclose(turned[:, 0, 7:9, 7:9], torch.tensor(1.0))


def test_a_strength_of_zero_is_no_jitter(pictures: Pictures, generator: Generator) -> None:
    images = pictures(4)
    assert torch.equal(natural(jitter=1.0, strength=0.0)(images, generator), images)
    assert not torch.equal(natural(jitter=1.0, strength=0.5)(images, generator), images)


def test_uniform_numbers_fill_their_interval(generator: Generator) -> None:
    numbers = uniform(-2.0, 3.0, (500, 2), generator, "cpu")
    assert numbers.shape == (500, 2)
    assert -2 <= numbers.min() < -1.9
    assert 2.9 < numbers.max() < 3


def test_chosen_images_are_none_or_all_at_the_extremes(generator: Generator) -> None:
    assert chosen(0.0, 9, generator, "cpu").tolist() == []
    assert chosen(1.0, 9, generator, "cpu").tolist() == list(range(9))


def test_the_crop_is_distorted_and_then_flipped(pictures: Pictures, generator: Generator) -> None:
    """Output coordinates pass the flip first and the crop last: input = crop @ affine @ flip @ output."""
    images, state = pictures(6), generator.get_state()
    found = Geometry((0.3, 0.6), 30, 0.1, (0.8, 1.2), 10, 0.5)(images, generator)
    generator.set_state(state)
    crop = crop_matrices(32, 6, (0.3, 0.6), CROP_RATIO, generator)
    affine = affine_matrices(
        uniform(-30, 30, 6, generator, "cpu"),
        uniform(-0.1, 0.1, (6, 2), generator, "cpu"),
        uniform(0.8, 1.2, 6, generator, "cpu"),
        uniform(-10, 10, (6, 2), generator, "cpu"),
    )
    flip = flip_matrices(6, 0.5, generator)
    assert torch.allclose(found, resample(images, crop @ affine @ flip, "zeros"), atol=1e-5)


@pytest.mark.parametrize(("strength", "hue"), [(0.5, 0.1), (1.0, 0.2), (3.0, 0.5)])
def test_strength_scales_the_jitters_as_in_simclr(
    strength: float, hue: float, pictures: Pictures, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brightness, contrast and saturation 0.8 s, hue 0.2 s and at most half a turn."""
    given: list[float] = []

    def note(images: Tensor, *amounts: float) -> Tensor:
        given.extend(amounts[:4])
        return images

    monkeypatch.setattr(batch, "jitter", note)
    natural(jitter=1.0, strength=strength)(pictures(2), generator)
    assert given == pytest.approx([0.8 * strength] * 3 + [hue])


@pytest.mark.parametrize(
    ("build", "size", "low", "high", "taps"),
    [(natural, 32, 0.1, 2.0, 3), (natural, 64, 0.1, 2.0, 7), (natural, 96, 0.1, 2.0, 9), (glyphs, 64, 0.3, 1.0, 3)],
)
def test_blur_draws_its_widths_from_the_documented_range(
    build: Callable[..., GlyphViews | NaturalViews], size: int, low: float, high: float, taps: int,
    generator: Generator, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    given: list[tuple[Tensor, int]] = []

    def note(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
        given.append((sigma, kernel_size))
        return images

    monkeypatch.setattr(batch, "gaussian_blur", note)
    build(blur=1.0)(torch.zeros(200, 1, size, size), generator)
    ((sigma, kernel_size),) = given
    assert kernel_size == taps
    assert low <= sigma.min() < low + 0.1 * (high - low)
    assert high - 0.1 * (high - low) < sigma.max() < high
