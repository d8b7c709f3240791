from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from fedmetric.evaluation import similarity as module
from fedmetric.evaluation.embeddings import Distance
from fedmetric.evaluation.similarity import on_grid, similarity
from oracles.geometry import circle, cloud

DISTANCES: tuple[Distance, ...] = ("cosine", "euclidean")


def test_the_cosine_of_sixty_degrees_is_one_half() -> None:
    queries, gallery = on_grid(circle(0) * 3, circle(60, 180, 90) * 7, distance="cosine")
    assert torch.allclose(similarity(queries, gallery, "cosine"), torch.tensor([[0.5, -1, 0]]).double(), atol=1e-7)


def test_the_euclidean_similarity_is_the_squared_query_length_less_the_squared_distance() -> None:
    """Lengths over the longest, 2: query 0.5, gallery 0.5 at 90 degrees and 1 at 0; d^2 = 0.5 and 0.25."""
    queries, gallery = on_grid(circle(0), torch.cat([circle(90), 2 * circle(0)]), distance="euclidean")
    expected = torch.tensor([[0.25 - 0.5, 0.25 - 0.25]]).double()
    assert torch.allclose(similarity(queries, gallery, "euclidean"), expected, atol=1e-7)


@pytest.mark.parametrize("distance", DISTANCES)
def test_no_product_is_rounded(distance: Distance) -> None:
    queries, gallery = on_grid(cloud(3, 50, 0), cloud(4, 50, 1), distance=distance)
    got = similarity(queries, gallery, distance)
    for i, q in enumerate(queries.tolist()):
        for j, g in enumerate(gallery.tolist()):
            dot = sum(Fraction(a) * Fraction(b) for a, b in zip(q, g, strict=True))
            if distance == "euclidean":
                dot = 2 * dot - sum(Fraction(b) ** 2 for b in g)
            assert Fraction(float(got[i, j])) == dot


@pytest.mark.parametrize("distance", DISTANCES)
def test_bits_do_not_depend_on_the_shape_of_the_block_or_the_order_of_the_rows(
    distance: Distance, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = on_grid(cloud(97, 33, 0), distance=distance)[0]
    whole = similarity(rows, rows, distance)
    order = torch.from_numpy(np.random.default_rng(1).permutation(97))
    assert torch.equal(similarity(rows[order], rows[order], distance), whole[order][:, order])
    for size in (1, 5, 64):
        monkeypatch.setattr(module, "TILE_ROWS", size)
        parts = [similarity(rows[start : start + size], rows, distance) for start in range(0, 97, size)]
        assert torch.equal(torch.cat(parts), whole)


def test_rounding_to_the_grid_moves_a_cosine_no_more_than_float32_would() -> None:
    """Each of 64 coordinates moves by at most 2^-25 in both vectors: 2 * 2^-25 * sqrt(64) at worst."""
    points = cloud(200, 64, 0)
    rows = on_grid(points, distance="cosine")[0]
    exact = torch.nn.functional.normalize(points.double())
    moved = (similarity(rows, rows, "cosine") - exact @ exact.T).abs()
    assert moved.max() < 2**-24 * 8
    assert moved.mean() < 3e-8


def test_a_tie_breaker_is_smaller_than_any_difference_and_not_lost() -> None:
    """Similarities are multiples of 2^-48, so 2^-49 separates equals and reorders nothing; 3 + 2^-49 still fits."""
    step = module.GRID**-2
    assert step / 2 == module.TIE
    assert 3.0 - module.TIE != 3.0
    assert 3.0 - step < 3.0 - module.TIE


def test_scaling_rows_leaves_their_cosines() -> None:
    points = cloud(20, 6, 0)
    assert torch.equal(*(on_grid(points * size, distance="cosine")[0] for size in (1.0, 4.0)))
