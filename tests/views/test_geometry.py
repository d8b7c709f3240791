"""Matrices of crops, affine maps and flips, by hand and against torchvision."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as torchvision

from fedmetric.views.geometry import affine_matrices, crop_matrices, flip_matrices, quarter_turned, resample

Pictures = Callable[..., Tensor]
IMAGE = torch.arange(16.0).reshape(1, 1, 4, 4)
"""Rows 0 1 2 3, 4 5 6 7, 8 9 10 11, 12 13 14 15."""


def one(
    degrees: float = 0, dx: float = 0, dy: float = 0, scaling: float = 1, shear: tuple[float, float] = (0, 0)
) -> Tensor:
    """Return the matrix of one image."""
    values = torch.tensor([degrees, dx, dy, scaling, *shear], dtype=torch.float32)
    return affine_matrices(values[:1], values[None, 1:3], values[3:4], values[None, 4:])


def test_parameters_that_change_nothing_give_the_identity() -> None:
    assert torch.equal(one(), torch.eye(3)[None])


def test_resampling_through_the_identity_gives_the_image() -> None:
    assert torch.allclose(resample(IMAGE, torch.eye(3)[None], "zeros"), IMAGE, atol=1e-5)


def test_ninety_degrees_turn_the_first_row_into_the_last_column() -> None:
    """Clockwise, the left column read upwards (12 8 4 0) becomes the top row."""
    expected = torch.tensor(
        [[12.0, 8.0, 4.0, 0.0], [13.0, 9.0, 5.0, 1.0], [14.0, 10.0, 6.0, 2.0], [15.0, 11.0, 7.0, 3.0]]
    )
    assert torch.allclose(resample(IMAGE, one(degrees=90), "zeros")[0, 0], expected, atol=1e-4)


def test_a_quarter_of_four_pixels_moves_the_content_one_pixel_right_and_fills_with_black() -> None:
    moved = resample(IMAGE, one(dx=0.25), "zeros")[0, 0]
    assert torch.allclose(moved[:, 1:], IMAGE[0, 0, :, :3], atol=1e-5)
    assert moved[:, 0].abs().max() < 1e-5


def test_a_positive_shift_in_y_moves_the_content_down() -> None:
    moved = resample(IMAGE, one(dy=0.5), "zeros")[0, 0]
    assert torch.allclose(moved[2:], IMAGE[0, 0, :2], atol=1e-5)
    assert moved[:2].abs().max() < 1e-5


def test_border_padding_repeats_the_edge() -> None:
    moved = resample(IMAGE, one(dx=0.25), "border")[0, 0]
    assert torch.allclose(moved[:, 0], IMAGE[0, 0, :, 0], atol=1e-5)


def test_a_factor_of_two_enlarges_the_content() -> None:
    """Output pixel centres at -3/4, -1/4, ... read the input at -3/8, -1/8: pixel positions 0.75 and 1.25 of 0..3."""
    row = resample(IMAGE, one(scaling=2), "zeros")[0, 0, 0]
    assert torch.allclose(row, torch.tensor([0.75, 1.25, 1.75, 2.25]) + 0.75 * 4, atol=1e-5)


def test_a_horizontal_shear_moves_rows_against_each_other() -> None:
    """With 45 degrees in x, the output at (x, y) reads the input at (x + y, y)."""
    assert torch.allclose(one(shear=(45, 0)), torch.tensor([[[1.0, 1, 0], [0, 1, 0], [0, 0, 1]]]), atol=1e-6)


def test_affine_maps_are_those_of_torchvision(pictures: Pictures) -> None:
    images, amount = pictures(24, size=30), torch.rand((24, 6), generator=Generator().manual_seed(1)) * 2 - 1
    matrices = affine_matrices(40 * amount[:, 0], 0.2 * amount[:, 1:3], 1 + 0.3 * amount[:, 3], 20 * amount[:, 4:])
    ours = resample(images, matrices, "zeros")
    for image, got, row in zip(images, ours, amount.tolist(), strict=True):
        expected = torchvision.affine(
            image,
            40 * row[0],
            [6 * row[1], 6 * row[2]],
            1 + 0.3 * row[3],
            [20 * row[4], 20 * row[5]],
            InterpolationMode.BILINEAR,
        )
        assert torch.allclose(got, expected, atol=1e-3)


def test_a_rotation_the_other_way_is_not_the_one_of_torchvision(pictures: Pictures) -> None:
    image = pictures(1)
    expected = torchvision.affine(image, 30, [0, 0], 1, [0, 0], InterpolationMode.BILINEAR)
    assert torch.allclose(resample(image, one(degrees=30), "zeros"), expected, atol=1e-3)
    assert not torch.allclose(resample(image, one(degrees=-30), "zeros"), expected, atol=0.05)


def test_the_crop_of_the_whole_image_is_the_identity(generator: Generator) -> None:
    matrices = crop_matrices(28, 5, (1.0, 1.0), (1.0, 1.0), generator)
    assert torch.allclose(matrices, torch.eye(3).repeat(5, 1, 1))


def test_a_crop_of_a_quarter_is_one_of_the_whole_pixel_windows(generator: Generator) -> None:
    """Sides of 4 out of 8 pixels; the left edge is one of 0..4, so the centre is one of -1/2, -1/4, 0, 1/4, 1/2."""
    matrices = crop_matrices(8, 300, (0.25, 0.25), (1.0, 1.0), generator)
    assert torch.allclose(matrices[:, 0, 0], torch.tensor(0.5))
    assert torch.allclose(matrices[:, 1, 1], torch.tensor(0.5))
    assert set(matrices[:, 0, 2].tolist()) == set(matrices[:, 1, 2].tolist()) == {-0.5, -0.25, 0.0, 0.25, 0.5}


def test_crops_lie_inside_the_image_and_in_the_range_of_areas(generator: Generator) -> None:
    matrices = crop_matrices(32, 500, (0.2, 1.0), (3 / 4, 4 / 3), generator)
    width, height = matrices[:, 0, 0], matrices[:, 1, 1]
    assert (matrices[:, 0, 2].abs() + width <= 1 + 1e-6).all()
    assert (matrices[:, 1, 2].abs() + height <= 1 + 1e-6).all()
    assert 0.17 < (width * height).min() < 0.25
    assert (width * height).max() > 0.9


def test_a_crop_that_never_fits_is_the_whole_image(generator: Generator) -> None:
    matrices = crop_matrices(10, 4, (1.0, 1.0), (2.0, 2.0), generator)
    assert torch.allclose(matrices, torch.eye(3).repeat(4, 1, 1))


def test_a_certain_flip_mirrors_columns_and_an_impossible_one_nothing(generator: Generator) -> None:
    mirrored = resample(IMAGE, flip_matrices(1, 1.0, generator), "zeros")
    assert torch.allclose(mirrored, IMAGE.flip(3), atol=1e-5)
    assert torch.equal(flip_matrices(50, 0.0, generator), torch.eye(3).repeat(50, 1, 1))


def test_half_of_the_images_flip(generator: Generator) -> None:
    share = (flip_matrices(2000, 0.5, generator)[:, 0, 0] < 0).float().mean()
    assert float(share) == pytest.approx(0.5, abs=0.05)


def test_quarter_turns_are_exact_and_give_classes_of_their_own() -> None:
    """An image with a mark in its top left corner has it in a corner of its own after 0, 1, 2 and 3 turns."""
    images = torch.zeros(64, 1, 3, 3)
    images[:, 0, 0, 0] = 1
    labels = torch.arange(64) % 5 - 1
    turned, classes = quarter_turned(images, labels, Generator().manual_seed(1))
    corners = {0: (0, 0), 1: (2, 0), 2: (2, 2), 3: (0, 2)}
    assert classes is not None
    seen = set()
    for image, before, after in zip(turned, labels.tolist(), classes.tolist(), strict=True):
        assert image.sum() == 1
        if before < 0:
            assert after == -1
            continue
        turns = after - 4 * before
        seen.add(turns)
        assert image[0][corners[turns]] == 1
    assert seen == {0, 1, 2, 3}


def test_quarter_turns_leave_the_images_they_are_given() -> None:
    images = torch.rand(8, 1, 4, 4, generator=Generator().manual_seed(2))
    kept = images.clone()
    turned, labels = quarter_turned(images, None, Generator().manual_seed(3))
    assert labels is None
    assert torch.equal(images, kept)
    assert not torch.equal(turned, kept)
