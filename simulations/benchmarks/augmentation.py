"""Views of whole batches against lightly's transforms of one image after another, the same operations on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightly.transforms.simclr_transform import SimCLRViewTransform
from PIL import Image
from torchvision.transforms import transforms

from fedmetric.seeds import numpy_generator, torch_generator
from fedmetric.simulations.benchmarks.pairs import Pair, time_pairs
from fedmetric.training.batches import to_tensor
from fedmetric.training.local_update import one_thread
from fedmetric.views.batch import GlyphViews, NaturalViews

BATCH = 256


def augmentation_speed(pairs: int) -> list[Pair]:
    """Compare at 32x32x3 and 28x28x1, and the affine views of characters with torchvision's per-image RandomAffine."""
    simclr: dict[str, Any] = {"min_scale": 0.2, "cj_strength": 0.5, "gaussian_blur": 0.0, "normalize": None}
    natural = NaturalViews(crop=(0.2, 1.0), flip=0.5, jitter=0.8, strength=0.5, grayscale=0.2)
    affine = transforms.Compose(
        [
            transforms.RandomAffine(
                15, (0.1, 0.1), (0.8, 1.2), (-10, 10, -10, 10), transforms.InterpolationMode.BILINEAR
            ),
            transforms.ToTensor(),
        ]
    )
    with one_thread():
        return [
            _compare(
                "crop flip jitter grey, 32x32x3", natural, SimCLRViewTransform(input_size=32, **simclr), 32, 3, pairs
            ),
            _compare("crop flip jitter, 28x28x1", natural, SimCLRViewTransform(input_size=28, **simclr), 28, 1, pairs),
            _compare("affine, 28x28x1 (torchvision)", GlyphViews(), affine, 28, 1, pairs),
        ]


def _compare(name: str, ours: object, per_image: object, size: int, channels: int, pairs: int) -> Pair:
    shape = (BATCH, size, size, channels)
    pixels = numpy_generator(1, "benchmark pixels").integers(0, 256, shape, dtype=np.uint8)
    generator = torch_generator(1, "benchmark views")

    def batch() -> torch.Tensor:
        return ours(to_tensor(pixels), generator)  # type: ignore[operator, no-any-return]

    def one_by_one() -> torch.Tensor:
        pictures = (Image.fromarray(image if channels == 3 else image[:, :, 0]) for image in pixels)
        return torch.stack([per_image(picture) for picture in pictures])  # type: ignore[operator]

    return time_pairs(name, batch, one_by_one, pairs, f"{BATCH} images, one thread")
