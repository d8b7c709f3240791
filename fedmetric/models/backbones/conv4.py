"""Conv4: the four-block network of few-shot learning.

Vinyals et al., Matching Networks for One Shot Learning, NIPS 2016, section 4.1; Snell et al., Prototypical Networks,
NIPS 2017. Difference: max pooling stands before the ReLU, which gives the same values (both are monotone) for less
work.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from torch import nn

from fedmetric.models.norms import norm_layer
from fedmetric.options import Count, Dropped
from fedmetric.registry import backbones


@backbones.register("conv4")
def conv4(
    in_channels: int,
    image_size: int,
    *,
    width: Count = 64,
    norm: Literal["batch", "group"] = "batch",
    dropout: Dropped = 0.0,
) -> nn.Module:
    """Build four blocks of 3x3 convolution, norm, 2x2 max pooling and ReLU, flattened.

    Maps (B, C, H, W) to (B, D) with D = width * (image_size // 16) ** 2: 64 at 28 pixels.

    Args:
        in_channels: channels of the images.
        image_size: side of the images in pixels, at least 16.
        width: channels of every block.
        norm: "batch" for BatchNorm, "group" for GroupNorm.
        dropout: share of the embedding's coordinates that are dropped in training.
    """
    if image_size < 16:
        raise ValueError(f"conv4 halves the image four times and needs image_size of at least 16, not {image_size}")
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    channels = in_channels
    for number in range(1, 5):
        blocks[f"block{number}"] = nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(channels, width, 3, padding=1, bias=False),
                norm=norm_layer(norm, width),
                pool=nn.MaxPool2d(2),
                relu=nn.ReLU(inplace=True),
            )
        )
        channels = width
    blocks["flatten"] = nn.Flatten()
    if dropout:
        blocks["dropout"] = nn.Dropout(dropout)
    return nn.Sequential(blocks)
