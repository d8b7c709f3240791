"""What every registered partitioner must do, whatever its name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedmetric.data.base import ImageSet
from fedmetric.data.partition import partition
from fedmetric.data.partitions.base import check_partition, gather
from fedmetric.errors import ConfigError
from fedmetric.registry import Component, partitioners

MakeSet = Callable[..., ImageSet]
NAMES = sorted(partitioners)


def component(name: str, **options: object) -> Component:
    chosen = partitioners[name].options(**options)
    assert isinstance(chosen, Component)
    return chosen


@pytest.fixture
def images(make_set: MakeSet) -> ImageSet:
    return make_set(classes=12, writer=[i % 11 for i in range(20 * 12 - 7)])


@pytest.mark.parametrize("name", NAMES)
def test_every_image_is_with_exactly_one_client(name: str, images: ImageSet) -> None:
    parts = partition(component(name), images, seed=1)
    held = [index for part in parts for index in part.tolist()]
    assert sorted(held) == list(range(len(images)))
    assert all(part.dtype == np.int64 and part.tolist() == sorted(part) for part in parts)


@pytest.mark.parametrize("name", NAMES)
def test_an_equal_seed_gives_an_equal_partition(name: str, images: ImageSet) -> None:
    first, second = (partition(component(name), images, seed=5) for _ in range(2))
    assert [part.tolist() for part in first] == [part.tolist() for part in second]


@pytest.mark.parametrize("name", [name for name in NAMES if "clients" in partitioners[name].options.model_fields])
def test_the_number_of_clients_is_the_one_asked_for_and_seeds_differ(name: str, images: ImageSet) -> None:
    chosen = component(name, clients=7)
    first, second = (partition(chosen, images, seed) for seed in (1, 2))
    assert len(first) == len(second) == 7
    assert [part.tolist() for part in first] != [part.tolist() for part in second]


@pytest.mark.parametrize("name", NAMES)
def test_one_client_holds_everything(name: str, images: ImageSet) -> None:
    options = {"classes": 12} if "classes" in partitioners[name].options.model_fields else {}
    (part,) = partition(component(name, clients=1, **options), images, seed=1)
    assert part.tolist() == list(range(len(images)))


@pytest.mark.parametrize("name", NAMES)
def test_more_clients_than_images_are_refused_by_the_name_of_the_key(name: str, make_set: MakeSet) -> None:
    with pytest.raises(ConfigError, match=r"^partition.*clients"):
        partition(component(name, clients=500), make_set([0, 1, 0, 1], 2, writer=[0, 1, 2, 2]), seed=1)


@pytest.mark.parametrize("name", NAMES)
def test_images_without_labels_are_divided_or_refused_with_the_way_out(name: str, make_set: MakeSet) -> None:
    unlabelled = make_set([-1] * 50, 0, writer=[i % 5 for i in range(50)])
    try:
        parts = partition(component(name, clients=5), unlabelled, seed=1)
    except ConfigError as error:
        assert "50 of 50 images of hand-made have none; use iid, quantity-skew or natural" in str(error)  # noqa: PT017
    else:
        check_partition(parts, 50)


@pytest.mark.parametrize("name", NAMES)
def test_no_partitioner_reads_the_pixels_or_draws_from_the_global_generator(name: str, images: ImageSet) -> None:
    blank = ImageSet("blank", np.zeros_like(images.images), images.labels, images.classes, images.groupings)
    before = str(np.random.get_state())
    first, second = partition(component(name), images, 3), partition(component(name), blank, 3)
    assert [part.tolist() for part in first] == [part.tolist() for part in second]
    assert str(np.random.get_state()) == before


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([[0, 1], [1, 2]], "4 indices do not cover 3 images"),
        ([[0], [2]], "2 indices do not cover 3 images"),
        ([[1, 0], [2]], "client 0: indices are not sorted"),
        ([[0, 1], [3]], "3 indices do not cover 3 images"),
    ],
)
def test_the_check_catches_what_is_no_partition(parts: list[list[int]], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_partition([np.asarray(part, dtype=np.int64) for part in parts], 3)


def test_the_check_catches_a_wrong_type_and_shape() -> None:
    with pytest.raises(AssertionError, match="indices are int32"):
        check_partition([np.arange(3, dtype=np.int32)], 3)  # type: ignore[list-item]
    with pytest.raises(AssertionError, match="shape"):
        check_partition([np.arange(4, dtype=np.int64).reshape(2, 2)], 4)


def test_gathering_nothing_gives_an_empty_array() -> None:
    (part,) = gather([[]])
    assert part.dtype == np.int64
    assert len(part) == 0
