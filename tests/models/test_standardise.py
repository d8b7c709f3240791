"""Images in the range that published weights expect, wherever the network is used."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from fedmetric.config import parse_experiment
from fedmetric.errors import ConfigError
from fedmetric.models.backbones.torchvision_networks import torchvision_classifier
from fedmetric.models.embedder import Embedder, build_embedder
from fedmetric.models.standardise import IMAGENET, standardise
from fedmetric.objectives.simclr import SimCLR

MEAN, DEVIATION = (torch.tensor(values)[:, None, None] for values in IMAGENET)
ARCH = 'model = {name = "torchvision", arch = "shufflenet_v2_x0_5", standardise = true}'


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_the_mean_becomes_zero_and_a_deviation_more_becomes_one(images: torch.Tensor) -> None:
    network = standardise(nn.Identity(), 3, *IMAGENET)
    assert torch.allclose(network(MEAN.expand(1, 3, 2, 2)), torch.zeros(1, 3, 2, 2), atol=1e-6)
    assert torch.allclose(network((MEAN + DEVIATION).expand(1, 3, 2, 2)), torch.ones(1, 3, 2, 2), atol=1e-5)
    assert torch.allclose(copy.deepcopy(network)(images), (images - MEAN) / DEVIATION)


def test_weights_keep_their_names_and_see_what_they_were_trained_on(images: torch.Tensor) -> None:
    plain = torchvision_classifier(3, 32, arch="shufflenet_v2_x0_5").eval()
    changed = torchvision_classifier(3, 32, arch="shufflenet_v2_x0_5", norm="batch", standardise=True).eval()
    changed.load_state_dict(plain.state_dict())
    assert torch.allclose(changed(images), plain((images - MEAN) / DEVIATION), atol=1e-6)


def test_group_norm_keeps_it(images: torch.Tensor) -> None:
    network = torchvision_classifier(3, 32, arch="shufflenet_v2_x0_5", norm="group", standardise=True)
    assert not torch.equal(network(images), network((images - MEAN) / DEVIATION))


def test_what_is_recorded_of_a_pass_is_the_image_as_it_was_given(images: torch.Tensor) -> None:
    network = Embedder(standardise(nn.Flatten(), 3, *IMAGENET), SimCLR(3 * 32 * 32))
    with network.recorded() as passes:
        network.backbone(images)
        network.backbone(images + 1)
    assert [torch.equal(given, wanted) for (given, _), wanted in zip(passes, (images, images + 1), strict=True)] == [
        True,
        True,
    ]
    assert torch.equal(passes[0][1], ((images - MEAN) / DEVIATION).flatten(1))


def test_an_experiment_asks_for_it_and_grey_images_have_none() -> None:
    experiment = parse_experiment(ARCH)
    assert build_embedder(experiment, 3).embed(torch.rand(2, 3, 32, 32)).shape == (2, 1024)
    with pytest.raises(ConfigError, match="model.standardise: images have 1 channel, and the published mean is of 3"):
        build_embedder(experiment, 1)
