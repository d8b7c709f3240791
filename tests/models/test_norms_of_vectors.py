"""GroupNorm in place of BatchNorm on vectors: a group of one feature would turn whatever it is into 0."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedmetric.models.norms import MIN_FEATURES, replace_batch_norm


@pytest.mark.parametrize("features", [2, 8, 12, 16, 64, 128, 256])
def test_the_output_still_depends_on_the_input(features: int) -> None:
    (layer,) = replace_batch_norm(nn.Sequential(nn.BatchNorm1d(features)))
    assert isinstance(layer, nn.GroupNorm)
    assert features // layer.num_groups >= min(MIN_FEATURES, features)
    given = torch.randn(4, features, generator=torch.Generator().manual_seed(1))
    assert float(layer(given).detach().std()) > 0.5


@pytest.mark.parametrize(("features", "groups"), [(8, 8), (12, 6), (64, 8)])
def test_channels_of_images_keep_their_groups(features: int, groups: int) -> None:
    (layer,) = replace_batch_norm(nn.Sequential(nn.BatchNorm2d(features)))
    assert layer.num_groups == groups
