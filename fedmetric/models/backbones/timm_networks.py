"""Backbones from timm by name, with random weights; see `start.weights` for trained ones from a local file."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from fedmetric.errors import ConfigError
from fedmetric.models.norms import replace_batch_norm
from fedmetric.models.standardise import IMAGENET
from fedmetric.models.standardise import standardise as standardised
from fedmetric.registry import backbones, nearest


@backbones.register("timm")
def timm_network(
    in_channels: int,
    image_size: int,
    *,
    arch: str = "resnet10t",
    norm: Literal["batch", "group"] = "batch",
    standardise: bool = False,
) -> nn.Module:
    """Build any network of timm (extra 'timm') with random weights and without its classifier.

    Args:
        in_channels: channels of the images.
        image_size: side of the images in pixels; told to networks that need it, such as vision transformers.
        arch: timm's name, such as "convnext_atto".
        norm: "batch" keeps the network's layers, "group" replaces BatchNorm by GroupNorm.
        standardise: take the images in [0, 1] to the mean and deviation that published weights were trained with.
    """
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ConfigError("model 'timm' needs the extra 'timm': pip install 'fedmetric[timm]'") from error
    known = timm.list_models()
    if arch not in known:
        raise ConfigError(f"model.arch: timm has no network '{arch}'{nearest(arch, known)}")
    described = timm.get_pretrained_cfg(arch)
    options: dict[str, Any] = {"img_size": image_size} if described is not None and described.fixed_input_size else {}
    network: nn.Module = timm.create_model(arch, pretrained=False, num_classes=0, in_chans=in_channels, **options)
    if standardise:
        standardised(network, in_channels, *((described.mean, described.std) if described is not None else IMAGENET))
    return replace_batch_norm(network) if norm == "group" else network
