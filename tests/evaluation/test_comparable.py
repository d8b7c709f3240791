from __future__ import annotations

import pytest
import torch

from fedmetric.evaluation.comparable import comparable
from fedmetric.evaluation.similarity import on_grid
from oracles.geometry import circle, cloud, tied_points


def test_euclidean_values_are_minus_the_squared_distance_over_the_squared_longest_length() -> None:
    """Points 2 and 1 at 0 degrees and 1 at 90: squared distances 1, 5 and 2, over 4."""
    (grid,) = on_grid(torch.cat([2 * circle(0), circle(0), circle(90)]), distance="euclidean")
    found = -comparable(grid, grid, "euclidean")
    expected = torch.tensor([[0, 1, 5], [1, 0, 2], [5, 2, 0]], dtype=torch.float64) / 4
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("make", [cloud, tied_points])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_values_are_symmetric_to_the_last_bit(make, distance) -> None:
    (grid,) = on_grid(make(60, 9, 1), distance=distance)
    values = comparable(grid, grid, distance)
    assert torch.equal(values, values.T)
