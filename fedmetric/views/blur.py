"""Gaussian blur of a batch, each image with its own width."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def gaussian_blur(images: Tensor, sigma: Tensor, kernel_size: int) -> Tensor:
    """Blur rows, then columns, with reflected borders, as torchvision's gaussian_blur does for one image.

    Args:
        images: (B, C, H, W) float.
        sigma: (B,) float, standard deviations in pixels.
        kernel_size: odd number of taps.
    """
    half = kernel_size // 2
    offsets = torch.arange(-half, half + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (offsets[None] / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).t()[:, :, None, None, None]  # (taps, B, 1, 1, 1)
    height, width = images.shape[2:]
    padded = functional.pad(images, (half, half, 0, 0), mode="reflect")
    rows = sum(kernel[tap] * padded[:, :, :, tap : tap + width] for tap in range(kernel_size))
    padded = functional.pad(torch.as_tensor(rows), (0, 0, half, half), mode="reflect")
    return torch.as_tensor(sum(kernel[tap] * padded[:, :, tap : tap + height] for tap in range(kernel_size)))
