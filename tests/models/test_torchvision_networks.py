"""Networks of torchvision without their classifiers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedmetric.errors import ConfigError
from fedmetric.models.backbones.torchvision_networks import resnet18, torchvision_classifier


def test_resnet18_keeps_small_images_large_at_its_stem() -> None:
    network = resnet18(3, 32)
    stem = network.get_submodule("maxpool")(network.get_submodule("conv1")(torch.zeros(1, 3, 32, 32)))
    assert stem.shape == (1, 64, 32, 32)
    assert network.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 512)


@pytest.mark.parametrize(("arch", "dimension"), [("mobilenet_v3_small", 1024), ("shufflenet_v2_x0_5", 1024)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_classifier_by_name_gives_what_its_last_layer_saw(arch: str, dimension: int, channels: int) -> None:
    network = torchvision_classifier(channels, 32, arch=arch).eval()
    assert network(torch.zeros(2, channels, 32, 32)).shape == (2, dimension)


def test_a_network_with_side_classifiers_gives_one_tensor_also_in_training() -> None:
    network = torchvision_classifier(1, 32, arch="googlenet", norm="group")
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 1024)


def test_an_unknown_name_is_refused_with_the_nearest_classifier() -> None:
    with pytest.raises(ConfigError, match=r"^model.arch: .* no classifier 'resnet35'; did you mean 'resnet"):
        torchvision_classifier(3, 32, arch="resnet35")


def test_a_network_that_is_no_classifier_is_not_proposed_to_itself() -> None:
    with pytest.raises(ConfigError, match="no classifier 'fcn_resnet50'") as caught:
        torchvision_classifier(3, 32, arch="fcn_resnet50")
    assert "mean 'fcn_resnet50'" not in str(caught.value)


def test_a_classifier_without_a_linear_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^model.arch: 'squeezenet1_1' has no linear layer"):
        torchvision_classifier(3, 32, arch="squeezenet1_1")


def test_the_rebuilt_first_layer_keeps_all_but_its_channels() -> None:
    wanted = torchvision_classifier(3, 32, arch="shufflenet_v2_x0_5").get_submodule("conv1.0")
    rebuilt = torchvision_classifier(1, 32, arch="shufflenet_v2_x0_5").get_submodule("conv1.0")
    assert isinstance(wanted, nn.Conv2d)
    assert isinstance(rebuilt, nn.Conv2d)
    for key in ("out_channels", "kernel_size", "stride", "padding"):
        assert getattr(rebuilt, key) == getattr(wanted, key)
    assert (rebuilt.in_channels, rebuilt.bias is None) == (1, wanted.bias is None)
