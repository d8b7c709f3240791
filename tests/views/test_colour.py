"""Colour of a batch against torchvision's functions of one image."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor
from torchvision.transforms import functional as torchvision

from fedmetric.views import colour

Pictures = Callable[..., Tensor]
Change = Callable[[Tensor, Tensor], Tensor]
ADJUST: list[tuple[Change, Callable[[Tensor, float], Tensor]]] = [
    (colour.brighten, torchvision.adjust_brightness),
    (colour.contrast, torchvision.adjust_contrast),
    (colour.saturate, torchvision.adjust_saturation),
]
FLAT = torch.tensor(
    [
        *([0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0, 0], [0, 1, 0], [0, 0, 1]),
        *([1, 1, 0], [0, 1, 1], [1, 0, 1], [0.2, 0.7, 0.7]),
    ]
)[:, :, None, None].expand(-1, -1, 4, 4)
"""Black, white, grey, the six corners of the circle of hues, and a colour with two equal channels."""


@pytest.mark.parametrize(("ours", "theirs"), ADJUST, ids=["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_changes_by_its_own_factor_as_in_torchvision(
    ours: Change, theirs: Callable[[Tensor, float], Tensor], channels: int, pictures: Pictures
) -> None:
    images, factors = pictures(7, channels), torch.tensor([0.0, 0.3, 0.6, 1.0, 1.2, 1.6, 2.0])
    expected = torch.stack([theirs(image, factor) for image, factor in zip(images, factors.tolist(), strict=True)])
    assert torch.allclose(ours(images, factors), expected, atol=1e-5)


@pytest.mark.parametrize("shift", [-0.5, -0.31, -0.1, 0.0, 0.04, 0.2, 0.5])
def test_hue_turns_as_in_torchvision(shift: float, pictures: Pictures) -> None:
    images = torch.cat([pictures(4, size=8), torch.rand((4, 3, 8, 8), generator=Generator().manual_seed(1))])
    expected = torchvision.adjust_hue(images, shift)
    assert torch.allclose(colour.shift_hue(images, torch.full((8,), shift)), expected, atol=1e-5)


@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.1, 0.5])
def test_flat_colours_turn_as_in_torchvision(shift: float) -> None:
    expected = torchvision.adjust_hue(FLAT, shift)
    assert torch.allclose(colour.shift_hue(FLAT, torch.full((len(FLAT),), shift)), expected, atol=1e-5)


def test_a_third_of_a_turn_makes_red_green() -> None:
    turned = colour.shift_hue(FLAT[3:4], torch.tensor([1 / 3]))
    assert torch.allclose(turned[0, :, 0, 0], torch.tensor([0.0, 1.0, 0.0]), atol=1e-5)


def test_equal_channels_have_no_hue_to_turn() -> None:
    assert torch.allclose(colour.shift_hue(FLAT[:3], torch.full((3,), 0.37)), FLAT[:3], atol=1e-6)


def test_grey_images_have_neither_hue_nor_saturation(pictures: Pictures) -> None:
    images = pictures(2, 1)
    assert torch.equal(colour.shift_hue(images, torch.tensor([0.2, 0.4])), images)
    assert torch.equal(colour.saturate(images, torch.tensor([0.2, 0.4])), images)
    assert torch.equal(colour.grey(images), images)


def test_grey_is_the_luma_of_torchvision(pictures: Pictures) -> None:
    images = pictures(3)
    assert torch.allclose(colour.grey(images), torchvision.rgb_to_grayscale(images), atol=1e-6)


def test_no_contrast_is_a_flat_image_of_the_mean() -> None:
    """Pixels 0, 0, 1, 1 have the mean 1/2."""
    image = torch.tensor([0.0, 0.0, 1.0, 1.0]).reshape(1, 1, 2, 2)
    assert torch.allclose(colour.contrast(image, torch.tensor([0.0])), torch.tensor(0.5))


def test_solarising_is_torchvisions(pictures: Pictures) -> None:
    images = pictures(3)
    assert torch.allclose(colour.solarise(images), torch.stack([torchvision.solarize(image, 0.5) for image in images]))
    assert colour.solarise(torch.tensor([0.0, 0.4, 0.5, 1.0])).tolist() == pytest.approx([0.0, 0.4, 0.5, 0.0])


def test_jitters_of_no_strength_change_nothing(pictures: Pictures, generator: Generator) -> None:
    images = pictures(3)
    assert torch.equal(colour.jitter(images, 0, 0, 0, 0, generator), images)


def test_jitter_of_brightness_alone_multiplies_each_image_by_a_factor_in_the_range(generator: Generator) -> None:
    """Grey 0.4 times a factor in [0.5, 1.5] lies in [0.2, 0.6]."""
    values = colour.jitter(torch.full((400, 1, 2, 2), 0.4), 0.5, 0, 0, 0, generator)[:, 0, 0, 0]
    assert 0.2 <= values.min() < 0.22
    assert 0.58 < values.max() <= 0.6


def test_images_beyond_the_cached_piece_get_the_same_treatment(
    generator: Generator, monkeypatch: pytest.MonkeyPatch, pictures: Pictures
) -> None:
    """Pieces of one image, of five (the last of two), and one of all."""
    images, state = pictures(7, size=4), generator.get_state()
    found = []
    for values in (1, 5 * images[0].numel(), 10**9):
        monkeypatch.setattr(colour, "CACHED_VALUES", values)
        generator.set_state(state)
        found.append(colour.jitter(images, 0.4, 0.4, 0.4, 0.1, generator))
    assert torch.allclose(found[0], found[1], atol=1e-6)
    assert torch.allclose(found[1], found[2], atol=1e-6)


def test_the_order_of_the_jitters_is_drawn(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four operations have 24 orders; 200 draws miss half of them with no probability to speak of."""
    order: list[str] = []

    def noted(change: colour.Change) -> colour.Change:
        def note(images: Tensor, amounts: Tensor) -> Tensor:
            order.append(change.__name__)
            return images

        return note

    monkeypatch.setattr(colour, "CHANGES", tuple(noted(change) for change in colour.CHANGES))
    for _ in range(200):
        colour.jitter(torch.zeros(1, 3, 2, 2), 0.4, 0.4, 0.4, 0.1, generator)
    orders = {tuple(order[start : start + 4]) for start in range(0, len(order), 4)}
    assert all(len(set(found)) == 4 for found in orders)
    assert len(orders) > 12
