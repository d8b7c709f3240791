"""Random colour and intensity changes of a batch, each image with its own parameters.

The formulas are torchvision's (blend with black, with the mean grey, with the grey image, and rotation of hue in
HSV), so that the two agree in distribution. torchvision shuffles the four jitters for each image; here one order is
drawn for a batch, which leaves the distribution of a single image as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from fedmetric.views.base import uniform

LUMA = (0.2989, 0.587, 0.114)
CACHED_VALUES = 32 * 3 * 32 * 32
HUGE = 1e30


def grey(images: Tensor) -> Tensor:
    """Return the luma of colour images, or grey images as they are. (B, C, H, W) -> (B, 1, H, W)."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    return (LUMA[0] * red).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2]).unsqueeze(1)


def _blend(images: Tensor, other: Tensor, share: Tensor) -> Tensor:
    share = share[:, None, None, None]
    return (images * share).add_(other * (1 - share)).clamp_(0, 1)


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
    """Rotate the hue of colour images in HSV. shift: (B,) float in turns, 1 is a full turn.

    A channel that lies d turns from the hue has the value less the spread times clamp(6 d - 1, 0, 1).
    """
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(1)
    value = torch.maximum(torch.maximum(red, green), blue)
    spread = value - torch.minimum(torch.minimum(red, green), blue)
    safe = spread.clamp_min(1 / HUGE)
    # 0 where the channel is the largest, else 1; arithmetic, because torch.where is several times slower on a CPU
    not_red = (value - red).mul_(HUGE).clamp_(max=1)
    not_green = (value - green).mul_(HUGE).clamp_(max=1)
    green_hue = (blue - red).add_(safe, alpha=2)
    blue_hue = (red - green).add_(safe, alpha=4)
    hue = torch.lerp(green - blue, torch.lerp(green_hue, blue_hue, not_green), not_red).div_(safe.mul_(6))
    hue += shift[:, None, None]
    # value - spread * clamp(6 d - 1, 0, 1) for the distance d in turns, with the constants taken out of the loop
    full, slope = value + spread, 6 * spread
    rotated = torch.empty_like(images)
    for channel, place in enumerate((0.0, 1 / 3, 2 / 3)):
        distance = hue - place
        distance -= distance.round()
        torch.addcmul(full, distance.abs_().clamp_(1 / 6, 1 / 3), slope, value=-1, out=rotated[:, channel])
    return rotated.clamp_(0, 1)


Change = Callable[[Tensor, Tensor], Tensor]
CHANGES: tuple[Change, ...] = (brighten, contrast, saturate, shift_hue)


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
    batch, device = len(images), images.device
    factors = tuple((max(0.0, 1 - strength), 1 + strength) for strength in (brightness, contrast_, saturation))
    ranges = (*factors, (-hue, hue))
    plan: list[tuple[Change, Tensor]] = []
    for position in torch.randperm(len(CHANGES), generator=generator).tolist():
        low, high = ranges[position]
        amounts = uniform(low, high, batch, generator, device)
        if low < high:
            plan.append((CHANGES[position], amounts))
    pieces = []
    some = max(
        1, CACHED_VALUES // max(1, images[:1].numel())
    )  # whose intermediate results stay in the processor's cache
    for start in range(0, batch, some):
        piece = images[start : start + some]
        for operation, amounts in plan:
            piece = operation(piece, amounts[start : start + some])
        pieces.append(piece)
    return torch.cat(pieces) if pieces else images


def solarise(images: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert intensities at or above the threshold."""
    return torch.where(images >= threshold, 1 - images, images)
