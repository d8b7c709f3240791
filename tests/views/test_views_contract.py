"""What every registered augmentation must do, whatever its name."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from fedmetric.registry import views
from fedmetric.views.base import Views

Pictures = Callable[..., Tensor]
NAMES = sorted(views)
RANDOM = [name for name in NAMES if name != "none"]


def build(name: str, **options: object) -> Views:
    return cast(Views, views.build(views[name].options(**options)))


def draw(name: str, images: Tensor, seed: int = 1) -> Tensor:
    return build(name)(images, Generator().manual_seed(seed))


def test_the_built_in_views_are_registered() -> None:
    assert {"glyphs", "natural", "none", "lightly"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 6])
def test_views_have_the_shape_type_and_range_of_the_images(
    name: str, channels: int, count: int, pictures: Pictures
) -> None:
    images = pictures(count, channels)
    drawn = draw(name, images)
    assert drawn.shape == images.shape
    assert drawn.dtype == torch.float32
    assert drawn.min() >= 0
    assert drawn.max() <= 1


@pytest.mark.parametrize("name", NAMES)
def test_an_equal_generator_state_gives_equal_views(name: str, pictures: Pictures) -> None:
    images = pictures(5)
    assert torch.equal(draw(name, images), draw(name, images))


@pytest.mark.parametrize("name", RANDOM)
def test_another_state_gives_other_views(name: str, pictures: Pictures) -> None:
    images = pictures(5)
    assert not torch.equal(draw(name, images, 1), draw(name, images, 2))


@pytest.mark.parametrize("name", RANDOM)
def test_two_calls_with_one_generator_give_two_views(name: str, pictures: Pictures) -> None:
    images, generator = pictures(5), Generator().manual_seed(1)
    method = build(name)
    assert not torch.equal(method(images, generator), method(images, generator))


@pytest.mark.parametrize("name", NAMES)
def test_no_process_wide_generator_is_read_or_moved(name: str, pictures: Pictures) -> None:
    images = pictures(4)
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    before = (torch.get_rng_state(), random.getstate(), str(np.random.get_state()))
    first = draw(name, images)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert str(np.random.get_state()) == before[2]
    torch.manual_seed(6)
    random.seed(6)
    np.random.seed(6)
    assert torch.equal(draw(name, images), first)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_images_themselves_are_not_changed(name: str, channels: int, pictures: Pictures) -> None:
    images = pictures(6, channels)
    copy = images.clone()
    draw(name, images)
    assert torch.equal(images, copy)


@pytest.mark.parametrize("name", RANDOM)
def test_each_image_has_its_own_parameters(name: str, pictures: Pictures) -> None:
    drawn = draw(name, pictures(1).repeat(8, 1, 1, 1))
    assert len({tuple(view.flatten().tolist()) for view in drawn}) >= 7


@pytest.mark.parametrize("name", NAMES)
def test_the_layout_in_memory_does_not_change_the_views(name: str, pictures: Pictures) -> None:
    images = pictures(4)
    assert torch.allclose(draw(name, images.to(memory_format=torch.channels_last)), draw(name, images), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_description(name: str) -> None:
    fields = {key: field for key, field in views[name].options.model_fields.items() if key != "name"}
    assert [key for key, field in fields.items() if not field.description] == []
    assert views[name].summary
