"""BatchNorm by name, and GroupNorm in its place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedmetric.models.norms import norm_layer, replace_batch_norm


@pytest.mark.parametrize(("channels", "groups"), [(64, 8), (12, 6), (7, 7), (11, 1), (3, 3), (10, 5), (1, 1)])
def test_groups_are_the_largest_divisor_up_to_eight(channels: int, groups: int) -> None:
    layer = norm_layer("group", channels)
    assert isinstance(layer, nn.GroupNorm)
    assert (layer.num_groups, layer.num_channels) == (groups, channels)


def test_batch_is_batch_norm() -> None:
    layer = norm_layer("batch", 5)
    assert isinstance(layer, nn.BatchNorm2d)
    assert layer.num_features == 5


def test_every_batch_norm_inside_is_replaced_and_nothing_else() -> None:
    inner = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    network = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), inner)
    convolution = network[0]
    assert replace_batch_norm(network) is network
    assert network[0] is convolution
    assert isinstance(network[1], nn.GroupNorm)
    assert isinstance(inner[1], nn.GroupNorm)
    assert inner[1].num_channels == 6
    assert network(torch.zeros(2, 1, 1, 1)).shape == (2, 6)
