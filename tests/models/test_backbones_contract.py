"""What every registered backbone must do, whatever its name."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedmetric.registry import backbones

NAMES = sorted(backbones)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def build(name: str, channels: int, **options: object) -> nn.Module:
    network = backbones.build(backbones[name].options(**options), channels, 32)
    assert isinstance(network, nn.Module)
    return network


def test_the_built_in_backbones_are_registered() -> None:
    assert {"conv4", "resnet18", "torchvision"} <= set(NAMES)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_images_of_one_and_three_channels_become_vectors_of_one_length(name: str, channels: int) -> None:
    network = build(name, channels).eval()
    with torch.no_grad():
        two, one = (network(torch.rand(count, channels, 32, 32)) for count in (2, 1))
    assert two.ndim == 2
    assert two.shape[0] == 2
    assert two.shape[1:] == one.shape[1:]
    assert two.shape[1] >= 16
    assert torch.isfinite(two).all()


@pytest.mark.parametrize("name", NAMES)
def test_every_state_has_a_name_of_its_own_and_weights_can_be_trained(name: str) -> None:
    network = build(name, 1)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert {key for key, _ in network.named_parameters()} <= set(network.state_dict())


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_weights(name: str) -> None:
    states = []
    for _ in range(2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            states.append(build(name, 1).state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize("name", [name for name in NAMES if "norm" in backbones[name].options.model_fields])
def test_the_group_option_leaves_no_batch_norm(name: str) -> None:
    assert any(isinstance(layer, BATCH_NORMS) for layer in build(name, 1).modules())
    assert not any(isinstance(layer, BATCH_NORMS) for layer in build(name, 1, norm="group").modules())


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_description(name: str) -> None:
    fields = {key: field for key, field in backbones[name].options.model_fields.items() if key != "name"}
    assert [key for key, field in fields.items() if not field.description] == []
    assert backbones[name].summary
