"""Images in the range that published weights were trained on, inside the network, so that all who use it agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from fedmetric.errors import ConfigError

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's red, green and blue, as torchvision's published weights expect them."""


class Standardised:
    """Subtract a mean from each channel and divide by a deviation, before a network's own first step."""

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        self.mean, self.deviation = tuple(mean), tuple(deviation)

    def __call__(self, network: nn.Module, arguments: tuple[Any, ...]) -> tuple[Tensor]:
        """Change (B, C, H, W) float images in [0, 1]; see `torch.nn.Module.register_forward_pre_hook`."""
        (images,) = arguments
        mean, deviation = (images.new_tensor(values)[:, None, None] for values in (self.mean, self.deviation))
        return ((images - mean) / deviation,)


def standardise(network: nn.Module, in_channels: int, mean: Sequence[float], deviation: Sequence[float]) -> nn.Module:
    """Let a network standardise what it is given; its weights keep their names.

    Raises:
        ConfigError: the images have another number of channels than there are means.
    """
    if in_channels != len(mean):
        raise ConfigError(
            f"model.standardise: images have {in_channels} channel{'s' * (in_channels > 1)}, and the published mean is "
            f"of {len(mean)}; set it to false"
        )
    network.register_forward_pre_hook(Standardised(mean, deviation))
    return network
