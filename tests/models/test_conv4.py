"""Conv4, its size and the order of its layers."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from fedmetric.models.backbones.conv4 import conv4


@pytest.mark.parametrize(
    ("size", "width", "dimension"),
    [(28, 64, 64), (16, 4, 4), (31, 4, 4), (32, 4, 16), (84, 2, 50)],
)
def test_four_halvings_leave_a_sixteenth_of_the_side(size: int, width: int, dimension: int) -> None:
    assert conv4(1, size, width=width)(torch.zeros(2, 1, size, size)).shape == (2, dimension)


@pytest.mark.parametrize("size", [8, 15])
def test_images_that_would_vanish_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"needs image_size of at least 16, not {size}"):
        conv4(1, size)


@pytest.mark.parametrize("training", [True, False])
def test_pooling_before_the_relu_equals_the_textbook_order_exactly(training: bool) -> None:
    network = conv4(3, 20, width=4).train(training)
    images = torch.rand((5, 3, 20, 20), generator=Generator().manual_seed(1))
    with torch.no_grad():
        ours = network(images)
        textbook: Tensor = images
        for number in range(1, 5):
            block = network.get_submodule(f"block{number}")
            textbook = block.get_submodule("norm")(block.get_submodule("conv")(textbook))
            textbook = functional.max_pool2d(functional.relu(textbook), 2)
        assert torch.equal(ours, textbook.flatten(1))


def test_the_group_option_leaves_no_batch_norm_and_no_buffers() -> None:
    network = conv4(1, 16, width=6, norm="group")
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    assert sum(isinstance(layer, nn.GroupNorm) for layer in network.modules()) == 4
    assert list(network.buffers()) == []


def test_the_number_of_weights_is_that_of_the_paper() -> None:
    """One 3x3 convolution from 1 channel, three from 64, and 128 weights of each norm: 576 + 3 * 36864 + 512."""
    assert sum(parameter.numel() for parameter in conv4(1, 28).parameters()) == 576 + 3 * 36864 + 512
