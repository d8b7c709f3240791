"""Random colour and intensity changes of a batch, each image with its own parameters.

The formulas are torchvision's (blend with black, with the mean grey, with the grey image, and rotation of hue in
HSV), so that the two agree in distribution. torchvision shuffles the four jitters for each image; here one order is
drawn for a batch, which leaves the distribution of a single image as it is.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from fedmetric.views.base import uniform

LUMA = (0.2989, 0.587, 0.114)


def grey(images: Tensor) -> Tensor:
    """Return the luma of colour images, or grey images as they are. (B, C, H, W) -> (B, 1, H, W)."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(LUMA, dtype=images.dtype, device=images.device)
    return torch.einsum("bchw,c->bhw", images, weights).unsqueeze(1)


def _blend(images: Tensor, other: Tensor, share: Tensor) -> Tensor:
    return torch.lerp(other, images, share[:, None, None, None]).clamp_(0, 1)


def brighten(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply intensities. factor: (B,) float, 1 leaves an image as it is."""
    return (images * factor[:, None, None, None]).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean grey of the image. factor: (B,) float, 0 gives a flat image."""
    return _blend(images, grey(images).mean((1, 2, 3), keepdim=True), factor)


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the grey image. factor: (B,) float, 0 gives grey."""
    return images if images.shape[1] == 1 else _blend(images, grey(images), factor)


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Rotate the hue of colour images. shift: (B,) float in turns, 1 is a full turn."""
    if images.shape[1] == 1:
        return images
    value, index = images.max(1)
    spread = value - images.amin(1)
    safe = torch.where(spread == 0, torch.ones_like(spread), spread)
    red, green, blue = images.unbind(1)
    hue = torch.where(
        index == 0, (green - blue) / safe, torch.where(index == 1, (blue - red) / safe + 2, (red - green) / safe + 4)
    )
    hue = torch.where(spread == 0, torch.zeros_like(hue), hue) + 6 * shift[:, None, None]
    # a channel is the value less the spread, weighted by its distance on the hue circle
    offsets = torch.tensor([5.0, 3.0, 1.0], device=images.device, dtype=images.dtype)[None, :, None, None]
    k = torch.remainder(offsets + hue.unsqueeze(1), 6)
    return (value.unsqueeze(1) - spread.unsqueeze(1) * torch.minimum(k, 4 - k).clamp_(0, 1)).clamp_(0, 1)


def jitter(
    images: Tensor, brightness: float, contrast_: float, saturation: float, hue: float, generator: Generator
) -> Tensor:
    """Apply the four jitters in a random order, strengths as in torchvision's ColorJitter.

    Args:
        images: (B, C, H, W) float in [0, 1].
        brightness: factors are drawn from [max(0, 1 - brightness), 1 + brightness]; likewise the next two.
        contrast_: see brightness.
        saturation: see brightness.
        hue: shifts are drawn from [-hue, hue] turns.
        generator: supplies the order and the factors.
    """
    operations = ((brighten, brightness), (contrast, contrast_), (saturate, saturation))
    for position in torch.randperm(4, generator=generator).tolist():
        if position == 3:
            shift = uniform(-hue, hue, len(images), generator, images.device)
            images = shift_hue(images, shift) if hue else images
        else:
            operation, strength = operations[position]
            factor = uniform(max(0.0, 1 - strength), 1 + strength, len(images), generator, images.device)
            images = operation(images, factor) if strength else images
    return images


def solarise(images: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert intensities at or above the threshold."""
    return torch.where(images >= threshold, 1 - images, images)
