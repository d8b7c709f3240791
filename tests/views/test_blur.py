"""Blur of a batch against torchvision's blur of one image."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import functional as torchvision

from fedmetric.views.blur import gaussian_blur

Pictures = Callable[..., Tensor]


@pytest.mark.parametrize("taps", [3, 5, 9])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_blurred_by_its_own_width_as_in_torchvision(taps: int, channels: int, pictures: Pictures) -> None:
    images, widths = pictures(4, channels, 16), torch.tensor([0.1, 0.5, 1.0, 2.0])
    expected = torch.stack(
        [torchvision.gaussian_blur(i, taps, width) for i, width in zip(images, widths.tolist(), strict=True)]
    )
    assert torch.allclose(gaussian_blur(images, widths, taps), expected, atol=1e-5)


def test_a_dot_spreads_into_the_outer_product_of_the_kernel() -> None:
    """With sigma 1 the taps are exp(-1/2), 1, exp(-1/2) over their sum."""
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 2] = 1
    side = math.exp(-0.5)
    kernel = torch.tensor([side, 1.0, side]) / (1 + 2 * side)
    blurred = gaussian_blur(image, torch.tensor([1.0]), 3)
    assert torch.allclose(blurred[0, 0, 1:4, 1:4], torch.outer(kernel, kernel), atol=1e-6)
    assert float(blurred.sum()) == pytest.approx(1, abs=1e-5)


def test_a_flat_image_stays_flat_at_its_borders() -> None:
    flat = torch.full((2, 3, 6, 6), 0.3)
    assert torch.allclose(gaussian_blur(flat, torch.tensor([0.5, 2.0]), 5), flat, atol=1e-6)
