"""Encoders that every result is compared with, measured by the same code.

There are two baselines: raw pixels, below, and the untrained encoder, which is the caller's own model freshly
initialised with the experiment's seed and passed in like any other encoder. A trained encoder that does not beat both
has learned nothing.
"""

from __future__ import annotations

from torch import Tensor


def pixels(images: Tensor) -> Tensor:
    """Use the pixels themselves as the embedding, without removing their mean.

    A black image has no direction, so it stands as an even grey of level 1/255.

    Args:
        images: (B, C, H, W) float in [0, 1].

    Returns:
        (B, C * H * W) float.
    """
    flat = images.flatten(1)
    return flat + (flat == 0).all(dim=1, keepdim=True) / 255
