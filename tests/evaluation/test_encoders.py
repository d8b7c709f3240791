from __future__ import annotations

import torch

from fedmetric.evaluation.embeddings import check_embeddings
from fedmetric.evaluation.encoders import mirrored, pixels


def test_pixels_are_flattened_and_otherwise_untouched() -> None:
    images = torch.rand(5, 3, 4, 6, generator=torch.Generator().manual_seed(0)) + 0.01
    assert torch.equal(pixels(images), images.reshape(5, 72))


def test_a_black_image_is_an_even_grey_and_can_be_compared() -> None:
    images = torch.zeros(2, 1, 2, 2)
    images[1, 0, 0, 0] = 1
    check_embeddings(pixels(images))
    assert torch.allclose(pixels(images)[0], torch.full((4,), 1 / 255))
    assert pixels(images)[1].tolist() == [1, 0, 0, 0]


def test_an_image_and_its_mirror_image_are_embedded_alike() -> None:
    images = torch.rand(3, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    swapped = images[:, :, :, [5, 4, 3, 2, 1, 0]]
    both = mirrored(lambda batch: batch[:, 0, 0, :2])
    assert torch.equal(both(images), (images[:, 0, 0, [0, 1]] + images[:, 0, 0, [5, 4]]) / 2)
    assert torch.equal(both(images), both(swapped))
