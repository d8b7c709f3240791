"""Encoders that every result is compared with, and an encoder that sees mirror images too.

There are two baselines: raw pixels, below, and the untrained encoder, which is the caller's own model freshly
initialised with the experiment's seed and passed in like any other encoder. A trained encoder that does not beat both
has learned nothing.
"""

from __future__ import annotations

from torch import Tensor

from fedmetric.evaluation.base import Embed


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


def mirrored(embed: Embed) -> Embed:
    """Average what an encoder says of an image and of its mirror image, left and right exchanged.

    After H. Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR, 2018, section 4.1.
    Difference: it concatenates the two; their average is no longer than one, and the same for the mirror image itself.
    Wrong where the mirror image is of another class, as of written characters.

    Args:
        embed: the encoder.

    Returns:
        An encoder of the same embedding size, which takes twice as long.
    """
    return lambda images: (embed(images) + embed(images.flip(-1))) / 2
