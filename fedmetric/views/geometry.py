"""Random crops, rotations, scalings, translations, shears and flips of a batch as one resampling.

Every operation is a 3x3 matrix that maps output to input coordinates in [-1, 1]; their product samples each image once,
bilinearly. Parameters follow torchvision's RandomResizedCrop and RandomAffine, so that the two agree in distribution;
only translations differ, which torchvision rounds to whole pixels.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from fedmetric.options import Interval
from fedmetric.views.base import uniform

CROP_ATTEMPTS = 10


def crop_matrices(size: int, batch: int, scale: Interval, ratio: Interval, generator: Generator) -> Tensor:
    """Draw random resized crops: area a share of the image in `scale`, aspect ratio log-uniform in `ratio`.

    As in torchvision, sides are whole pixels, ten attempts are made, and the fallback is the whole image.

    Returns:
        (B, 3, 3) float.
    """
    area = uniform(*scale, (batch, CROP_ATTEMPTS), generator, "cpu") * size * size
    log_ratio = uniform(math.log(ratio[0]), math.log(ratio[1]), (batch, CROP_ATTEMPTS), generator, "cpu")
    width = (area * log_ratio.exp()).sqrt().round()
    height = (area / log_ratio.exp()).sqrt().round()
    fits = (width > 0) & (width <= size) & (height > 0) & (height <= size)
    first = fits.int().argmax(dim=1, keepdim=True)
    any_fits = fits.any(dim=1)
    width = torch.where(any_fits, width.gather(1, first).squeeze(1), torch.tensor(float(size)))
    height = torch.where(any_fits, height.gather(1, first).squeeze(1), torch.tensor(float(size)))
    left = (uniform(0, 1, batch, generator, "cpu") * (size - width + 1)).floor()
    top = (uniform(0, 1, batch, generator, "cpu") * (size - height + 1)).floor()
    matrices = torch.zeros(batch, 3, 3)
    matrices[:, 0, 0] = width / size
    matrices[:, 1, 1] = height / size
    matrices[:, 0, 2] = (2 * left + width) / size - 1
    matrices[:, 1, 2] = (2 * top + height) / size - 1
    matrices[:, 2, 2] = 1
    return matrices


def affine_matrices(degrees: Tensor, translation: Tensor, scaling: Tensor, shear: Tensor) -> Tensor:
    """Build the inverse maps of rotation, scaling and shear about the centre, then translation.

    Args:
        degrees: (B,) clockwise rotation in degrees, as torchvision's RandomAffine counts it.
        translation: (B, 2) in x and y, as a share of the image side.
        scaling: (B,) factor; above 1 enlarges the content.
        shear: (B, 2) in x and y, degrees.

    Returns:
        (B, 3, 3) float.
    """
    angle, shear_x, shear_y = degrees.deg2rad(), shear[:, 0].deg2rad(), shear[:, 1].deg2rad()
    a = torch.cos(angle - shear_y) / torch.cos(shear_y)
    b = -a * torch.tan(shear_x) - torch.sin(angle)
    c = torch.sin(angle - shear_y) / torch.cos(shear_y)
    d = -c * torch.tan(shear_x) + torch.cos(angle)
    linear = torch.stack([torch.stack([d, -b], 1), torch.stack([-c, a], 1)], 1) / scaling[:, None, None]
    matrices = torch.zeros(len(degrees), 3, 3)
    matrices[:, :2, :2] = linear
    matrices[:, :2, 2] = -(linear @ (2 * translation)[:, :, None]).squeeze(2)
    matrices[:, 2, 2] = 1
    return matrices


def flip_matrices(batch: int, probability: float, generator: Generator) -> Tensor:
    """Draw horizontal flips. Returns (B, 3, 3) float."""
    matrices = torch.eye(3).repeat(batch, 1, 1)
    matrices[:, 0, 0] = 1 - 2 * (torch.rand(batch, generator=generator) < probability).float()
    return matrices


def sampling_grid(matrices: Tensor, height: int, width: int) -> Tensor:
    """Return where each output pixel's centre falls in the input.

    The same as torch's affine_grid with align_corners=False, by broadcasting, not by matrix products.

    Args:
        matrices: (B, 3, 3) float.
        height: H of the output.
        width: W of the output.

    Returns:
        (B, H, W, 2) float, x and y in [-1, 1].
    """
    across = (2 * torch.arange(width, device=matrices.device, dtype=matrices.dtype) + 1) / width - 1
    down = (2 * torch.arange(height, device=matrices.device, dtype=matrices.dtype) + 1) / height - 1
    grid = torch.empty(len(matrices), height, width, 2, device=matrices.device, dtype=matrices.dtype)
    for axis in (0, 1):
        along_row = matrices[:, axis, 0, None] * across + matrices[:, axis, 2, None]  # (B, W)
        along_column = matrices[:, axis, 1, None] * down  # (B, H)
        torch.add(along_row[:, None, :], along_column[:, :, None], out=grid[..., axis])
    return grid


def resample(images: Tensor, matrices: Tensor, padding: str) -> Tensor:
    """Sample every image through its matrix.

    Args:
        images: (B, C, H, W) float.
        matrices: (B, 3, 3) float, output to input coordinates in [-1, 1].
        padding: "zeros" for black outside the image, "border" to repeat its edge.
    """
    grid = sampling_grid(matrices.to(images.device, images.dtype), images.shape[2], images.shape[3])
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def quarter_turned(images: Tensor, labels: Tensor | None, generator: Generator) -> tuple[Tensor, Tensor | None]:
    """Turn every image by a random multiple of 90 degrees, exactly, and give each turn a class of its own.

    Args:
        images: (B, C, H, W), H = W.
        labels: (B,) int64, -1 for an image without a label, or None.
        generator: draws one of four turns for each image.

    Returns:
        The images, and labels 4 c + k for class c turned k times; -1 stays.
    """
    turns = torch.randint(4, (len(images),), generator=generator).to(images.device)
    turned = images.clone()
    for number in range(1, 4):
        rows = turns == number
        turned[rows] = torch.rot90(images[rows], number, (2, 3))
    return turned, None if labels is None else torch.where(labels >= 0, 4 * labels + turns, labels)
