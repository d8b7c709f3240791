"""Batches of views: which images, in which order, and that any step can be replayed alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from fedmetric.data.base import ImageSet
from fedmetric.objectives.base import Batch, Objective
from fedmetric.sampling.shuffled import Shuffled
from fedmetric.training.batches import batch_size_of, batches, to_tensor
from fedmetric.views.batch import GlyphViews, NoViews

MakeImages = Callable[..., ImageSet]


class Wants(Objective):
    """An objective that only states what it wants."""

    def __init__(self, views: int = 2, labels: bool = False) -> None:
        super().__init__()
        self.num_views, self.needs_labels = views, labels  # type: ignore[misc]

    def forward(self, backbone: torch.nn.Module, batch: Batch) -> torch.Tensor:
        raise AssertionError("never trained")


def drawn(images: ImageSet, size: int = 4, epochs: int = 1, **where: int) -> list[Batch]:
    place = {"seed": 1, "round": 1, "client": 0} | where
    return list(batches(images, Wants(), NoViews(), Shuffled(), size, epochs, **place))  # type: ignore[arg-type]


def numbers(batch: Batch) -> list[int]:
    return (batch.views[0][:, 0, 0, 0] * 255).round().int().tolist()


def test_pixels_become_floats_from_zero_to_one_with_channels_first() -> None:
    pixels = np.zeros((2, 3, 3, 3), np.uint8)
    pixels[1, 0, 2] = (255, 0, 51)
    tensor = to_tensor(pixels)
    assert tensor.shape == (2, 3, 3, 3)
    assert tensor.dtype == torch.float32
    assert tensor[1, :, 0, 2].tolist() == pytest.approx([1.0, 0.0, 0.2])


@pytest.mark.parametrize(("images", "wanted", "size"), [(10, 4, 4), (3, 4, 3), (4, 4, 4), (1, 64, 1)])
def test_a_client_with_few_images_shrinks_its_batch(images: int, wanted: int, size: int) -> None:
    assert batch_size_of(images, wanted) == size


def test_the_last_incomplete_batch_is_left_out(make_images: MakeImages) -> None:
    assert [len(numbers(batch)) for batch in drawn(make_images(10))] == [4, 4]
    assert [len(numbers(batch)) for batch in drawn(make_images(3))] == [3]


def test_an_epoch_visits_each_image_at_most_once_and_another_epoch_other_ones(make_images: MakeImages) -> None:
    found = [numbers(batch) for batch in drawn(make_images(10), epochs=20)]
    assert len(found) == 40
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert len({*first, *second}) == 8
    visits = Counter(number for batch in found for number in batch)
    assert set(visits) == set(range(10))
    assert found[0] + found[1] != found[2] + found[3]


def test_batches_are_a_pure_function_of_their_coordinates(make_images: MakeImages) -> None:
    images, objective, views = make_images(10), Wants(), GlyphViews()
    torch.manual_seed(1)
    first = list(batches(images, objective, views, Shuffled(), 4, 2, 5, 3, 2))
    torch.manual_seed(2)
    np.random.seed(2)
    second = list(batches(images, objective, views, Shuffled(), 4, 2, 5, 3, 2))
    for one, two in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.views, two.views, strict=True))


@pytest.mark.parametrize("other", [{"seed": 2}, {"round": 2}, {"client": 1}])
def test_another_seed_round_or_client_gets_another_order(other: dict[str, int], make_images: MakeImages) -> None:
    images = make_images(40)
    assert [numbers(b) for b in drawn(images)] != [numbers(b) for b in drawn(images, **other)]


def test_the_views_of_an_image_differ_and_so_do_those_of_another_step(make_images: MakeImages) -> None:
    first, second = batches(make_images(4), Wants(), GlyphViews(), Shuffled(), 4, 2, 1, 1, 0)
    assert not torch.equal(*first.views)
    assert not torch.equal(first.views[0], second.views[0])


def test_there_are_as_many_views_as_wanted_and_labels_only_when_needed(make_images: MakeImages) -> None:
    images = make_images(6)
    (plain,) = batches(images, Wants(views=3), NoViews(), Shuffled(), 4, 1, 1, 1, 0)
    (labelled,) = batches(images, Wants(views=1, labels=True), NoViews(), Shuffled(), 4, 1, 1, 1, 0)
    assert (len(plain.views), plain.labels) == (3, None)
    assert len(labelled.views) == 1
    assert labelled.labels is not None
    assert labelled.labels.dtype == torch.int64
    assert labelled.labels.tolist() == [number % 3 for number in numbers(labelled)]


@pytest.mark.parametrize("other", [(2, 1, 0), (1, 2, 0), (1, 1, 1)])
def test_another_seed_round_or_client_gets_other_views_of_the_same_images(
    other: tuple[int, int, int], make_images: MakeImages
) -> None:
    """A batch of all images holds them in one order, so that only the views can differ."""
    images = make_images(4)
    (first,), (second,) = (
        list(batches(images, Wants(), GlyphViews(), Shuffled(), 4, 1, *place)) for place in ((1, 1, 0), other)
    )
    assert numbers(next(iter(drawn(images)))) == [0, 1, 2, 3]
    assert not torch.equal(first.views[0], second.views[0])


def test_both_views_of_an_image_are_turned_alike() -> None:
    """Without any other distortion, the two views of a turned image are equal, and its class says how it was turned."""
    pixels = np.random.default_rng(1).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    images = ImageSet("random", pixels, np.zeros(40, np.int64), ("a",))
    still = GlyphViews(rotation=0, translation=0, scaling=(1.0, 1.0), shear=0, quarter_turns=True)
    (batch,) = batches(images, Wants(labels=True), still, Shuffled(), 40, 1, 1, 1, 0)
    assert torch.equal(batch.views[0], batch.views[1])
    assert batch.labels is not None
    originals = to_tensor(images.images)
    for view, label in zip(batch.views[0], batch.labels.tolist(), strict=True):
        upright = torch.rot90(view, -label, (1, 2))
        assert any(torch.equal(upright, original) for original in originals)
    assert set(batch.labels.tolist()) == {0, 1, 2, 3}
