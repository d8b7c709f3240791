from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmetric.errors import DataError
from fedmetric.evaluation.embeddings import check_embeddings, embed_images, normalise
from oracles.geometry import cloud

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 4, 5, 3), dtype=np.uint8)


@pytest.mark.parametrize("batch_size", [1, 3, 11, 512])
def test_images_are_embedded_in_order_as_channels_first_in_the_unit_range(batch_size: int) -> None:
    embedded = embed_images(lambda x: x.flatten(1), IMAGES, batch_size=batch_size)
    expected = torch.from_numpy(IMAGES).permute(0, 3, 1, 2).float().flatten(1) / 255
    assert torch.equal(embedded, expected)
    assert embedded.dtype == torch.float32


def test_the_encoder_never_sees_more_than_one_batch() -> None:
    seen: list[tuple[int, ...]] = []

    def embed(batch: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(batch.shape))
        return batch.mean(dim=(2, 3))

    embed_images(embed, IMAGES, batch_size=4)
    assert seen == [(4, 3, 4, 5), (4, 3, 4, 5), (3, 3, 4, 5)]


def test_a_read_only_memory_map_is_embedded_without_gradients(tmp_path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    layer = torch.nn.Linear(60, 2)
    embedded = embed_images(lambda x: layer(x.flatten(1)), mapped)
    assert embedded.shape == (11, 2)
    assert not embedded.requires_grad


def test_no_images_give_no_rows() -> None:
    assert embed_images(lambda x: x.flatten(1), IMAGES[:0]).shape == (0, 0)


@pytest.mark.parametrize("shape", [(11,), (10, 2), (11, 2, 2)])
def test_an_encoder_that_does_not_return_one_row_per_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"for 11 images; it must return \(B, D\)"):
        embed_images(lambda _: torch.ones(shape), IMAGES)


def test_bad_rows_are_refused_with_the_count_of_each_kind() -> None:
    rows = cloud(10, 3, 0)
    rows[1, 0] = rows[4, 2] = torch.nan
    rows[2, 1] = torch.inf
    rows[5] = rows[6] = rows[9] = 0
    with pytest.raises(DataError, match="of 10 rows, 2 with NaN, 1 with infinite values, 3 with only zeros"):
        check_embeddings(rows)


def test_a_row_with_some_zeros_is_fine() -> None:
    check_embeddings(torch.eye(3))


def test_integers_and_single_vectors_are_refused() -> None:
    with pytest.raises(DataError, match=r"must be \(N, D\) floating point, not \(3,\)"):
        check_embeddings(torch.ones(3))
    with pytest.raises(DataError, match=r"torch\.int64"):
        check_embeddings(torch.ones(3, 2, dtype=torch.int64))


def test_cosine_scales_to_unit_norm_and_euclidean_changes_nothing() -> None:
    """(3, 4) has norm 5, so its direction is (0.6, 0.8)."""
    rows = torch.tensor([[3.0, 4.0]])
    assert torch.allclose(normalise(rows, "cosine"), torch.tensor([[0.6, 0.8]]))
    assert torch.equal(normalise(rows, "euclidean"), rows)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_tiny_and_huge_vectors_keep_their_direction(size: float) -> None:
    assert torch.allclose(normalise(torch.tensor([[3.0, 4.0]]) * size), torch.tensor([[0.6, 0.8]]))


def test_half_precision_is_normalised_in_float32() -> None:
    assert normalise(cloud(4, 3, 0).half()).dtype == torch.float32
