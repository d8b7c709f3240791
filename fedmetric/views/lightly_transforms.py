"""lightly's own per-image transforms, for those who want exactly what lightly does."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from lightly.transforms.simclr_transform import SimCLRViewTransform
from torch import Generator, Tensor
from torchvision.transforms.functional import to_pil_image

from fedmetric.options import Fraction, NonNegative
from fedmetric.registry import views
from fedmetric.views.base import Views


@views.register("lightly")
class LightlyViews(Views):
    """Apply lightly's SimCLR transform to one image after another; ten and more times slower than the batch views."""

    def __init__(
        self,
        *,
        min_scale: Fraction = 0.2,
        strength: NonNegative = 0.5,
        flip: Fraction = 0.5,
        grayscale: Fraction = 0.2,
        blur: Fraction = 0.0,
        rotation: Fraction = 0.0,
    ) -> None:
        """Set the amounts, named as in the batch views.

        Args:
            min_scale: smallest share of the area that a random resized crop keeps.
            strength: cj_strength of lightly.
            flip: probability of a horizontal flip.
            grayscale: probability of turning an image grey.
            blur: probability of Gaussian blur.
            rotation: probability of a rotation by 90 degrees.
        """
        self.arguments: dict[str, Any] = {
            "min_scale": min_scale,
            "cj_strength": strength,
            "hf_prob": flip,
            "random_gray_scale": grayscale,
            "gaussian_blur": blur,
            "rr_prob": rotation,
            "normalize": None,
        }

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Transform one image after another; see `Views`."""
        size = images.shape[-1]
        transform = SimCLRViewTransform(input_size=size, **self.arguments)
        seed = int(torch.randint(2**31, (1,), generator=generator))
        state, numpy_state = random.getstate(), np.random.get_state()
        try:
            # torchvision and lightly draw from the global generators; fork them so that nothing else is disturbed
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                random.seed(seed)
                np.random.seed(seed)
                pictures = [to_pil_image(image.cpu()).convert("RGB") for image in images]
                views_ = torch.stack([transform(picture) for picture in pictures]).to(images.device)
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)
        return views_ if images.shape[1] == 3 else views_.mean(1, keepdim=True)
