"""Backbones from timm."""

from __future__ import annotations

import pytest
import torch

from fedmetric.errors import ConfigError
from fedmetric.models.backbones.timm_networks import timm_network
from fedmetric.models.norms import NORM_LAYERS

timm = pytest.importorskip("timm", reason="the extra 'timm' is not installed")


@pytest.mark.parametrize(("arch", "size"), [("resnet10t", 32), ("vit_tiny_patch16_224", 32), ("convnext_atto", 32)])
@pytest.mark.parametrize("channels", [1, 3])
def test_networks_give_embeddings_for_the_size_and_channels_of_the_images(arch: str, size: int, channels: int) -> None:
    network = timm_network(channels, size, arch=arch)
    assert network(torch.zeros(2, channels, size, size)).ndim == 2


def test_batch_norm_gives_way_to_group_norm() -> None:
    network = timm_network(1, 32, norm="group")
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    assert any(isinstance(m, NORM_LAYERS) for m in network.modules())


def test_an_unknown_network_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="timm has no network 'resnet10tt'; did you mean 'resnet10t'"):
        timm_network(1, 32, arch="resnet10tt")
