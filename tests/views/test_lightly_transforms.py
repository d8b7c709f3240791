"""lightly's transforms behind the interface of the batch views."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from fedmetric.views.lightly_transforms import LightlyViews

Pictures = Callable[..., Tensor]
STILL = {"min_scale": 1.0, "strength": 0.0, "flip": 0.0, "grayscale": 0.0}


def test_blur_depends_on_the_generator_alone(pictures: Pictures) -> None:
    """Lightly draws whether to blur, and the width, from NumPy's process-wide generator."""
    drawn = []
    for seed in (1, 2, 3):
        np.random.seed(seed)
        drawn.append(LightlyViews(blur=0.5)(pictures(6), Generator().manual_seed(4)))
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[1], drawn[2])


def test_a_certain_flip_mirrors_every_image(pictures: Pictures, generator: Generator) -> None:
    """Crops are whole only at times, so the picture is a ramp along x: every crop of it rises, its mirror falls."""
    images = torch.linspace(0, 1, 32).repeat(2, 3, 32, 1)
    drawn = LightlyViews(**(STILL | {"flip": 1.0}))(images, generator)
    assert (drawn[..., 0] > drawn[..., -1] + 0.5).all()


def test_certain_grayscale_makes_channels_equal(pictures: Pictures, generator: Generator) -> None:
    drawn = LightlyViews(**(STILL | {"grayscale": 1.0}))(pictures(3), generator)
    assert torch.equal(drawn[:, 0], drawn[:, 1])


def test_generators_are_put_back_also_after_an_error(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (torch.get_rng_state(), str(np.random.get_state()))
    with pytest.raises(ValueError, match="pic should be"):
        LightlyViews()(torch.zeros(2, 3, 4, 4, 4), generator)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert str(np.random.get_state()) == before[1]
