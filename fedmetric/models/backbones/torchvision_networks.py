"""Backbones from torchvision: ResNet-18 with the stem for small images, and any classifier by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from torch import nn
from torchvision import models

from fedmetric.errors import ConfigError
from fedmetric.models.norms import replace_batch_norm
from fedmetric.models.standardise import IMAGENET
from fedmetric.models.standardise import standardise as standardised
from fedmetric.options import Dropped
from fedmetric.registry import backbones, nearest


@backbones.register("resnet18")
def resnet18(
    in_channels: int, image_size: int, *, norm: Literal["batch", "group"] = "batch", dropout: Dropped = 0.0
) -> nn.Module:
    """Build ResNet-18 with a 3x3 stem and no first pooling (He et al., CVPR 2016, section 4.2), D = 512.

    Args:
        in_channels: channels of the images.
        image_size: side of the images in pixels; any.
        norm: "batch" for BatchNorm, "group" for GroupNorm.
        dropout: share of the embedding's coordinates that are dropped in training.
    """
    network = models.resnet18(weights=None)
    network.conv1 = nn.Conv2d(in_channels, 64, 3, stride=1, padding=1, bias=False)
    network.maxpool = nn.Identity()
    network.fc = nn.Dropout(dropout) if dropout else nn.Identity()
    return replace_batch_norm(network) if norm == "group" else network


@backbones.register("torchvision")
def torchvision_classifier(
    in_channels: int,
    image_size: int,
    *,
    arch: str = "resnet34",
    norm: Literal["batch", "group"] = "batch",
    standardise: bool = False,
) -> nn.Module:
    """Build any torchvision classifier with random weights and without its last linear layer.

    Args:
        in_channels: channels of the images; the first convolution is rebuilt when it differs.
        image_size: side of the images in pixels.
        arch: torchvision's name, such as "mobilenet_v3_small".
        norm: "batch" keeps the network's layers, "group" replaces BatchNorm by GroupNorm.
        standardise: take the images in [0, 1] to the mean and deviation that published weights were trained with.
    """
    classifiers = models.list_models(module=models)
    if arch not in classifiers:
        raise ConfigError(f"model.arch: torchvision has no classifier '{arch}'{nearest(arch, classifiers)}")
    extra: dict[str, object] = {"image_size": image_size} if arch.startswith("vit_") else {}
    if arch in ("googlenet", "inception_v3"):
        extra = {"aux_logits": False, "init_weights": True}  # with them, training gives a tuple
    network = models.get_model(arch, weights=None, **extra)
    linear = list(_placed(network, nn.Linear))
    if not linear:
        raise ConfigError(f"model.arch: '{arch}' has no linear layer to take off; choose another, such as resnet34")
    parent, name, _ = linear[-1]
    setattr(parent, name, nn.Identity())
    parent, name, first = next(iter(_placed(network, nn.Conv2d)))
    if isinstance(first, nn.Conv2d) and first.in_channels != in_channels:
        setattr(parent, name, _with_channels(first, in_channels))
    if standardise:
        standardised(network, in_channels, *IMAGENET)
    return replace_batch_norm(network) if norm == "group" else network


def _placed(module: nn.Module, kind: type[nn.Module]) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Yield every layer of a kind with its parent and its name there, in the order of definition."""
    for name, child in module.named_children():
        if isinstance(child, kind):
            yield module, name, child
        yield from _placed(child, kind)


def _with_channels(layer: nn.Conv2d, channels: int) -> nn.Conv2d:
    return nn.Conv2d(
        channels,
        layer.out_channels,
        layer.kernel_size,  # type: ignore[arg-type]
        layer.stride,  # type: ignore[arg-type]
        layer.padding,  # type: ignore[arg-type]
        bias=layer.bias is not None,
    )
