"""Each distance against its loop."""

from __future__ import annotations

import pytest
import torch

from fedmetric.distances.base import PairDistance
from fedmetric.distances.cosine import Cosine
from fedmetric.distances.euclidean import Euclidean
from oracles.geometry import cloud, tied_points
from oracles.pairs import Distance, cosine_distance, euclidean_distance


@pytest.mark.parametrize(("measure", "loop"), [(Cosine(), cosine_distance), (Euclidean(), euclidean_distance)])
@pytest.mark.parametrize("make", [cloud, tied_points])
def test_a_distance_is_that_of_the_loop(measure: PairDistance, loop: Distance, make) -> None:
    queries, gallery = make(9, 5, 1), make(12, 5, 2)
    found = measure(queries, gallery).tolist()
    for i, query in enumerate(queries.tolist()):
        for j, row in enumerate(gallery.tolist()):
            assert found[i][j] == pytest.approx(loop(query, row), abs=1e-6)


def test_cosine_distance_is_half_the_square_of_the_euclidean() -> None:
    first, second = cloud(20, 8, 1).double(), cloud(30, 8, 2).double()
    assert torch.allclose(Cosine()(first, second), Euclidean()(first, second) ** 2 / 2, atol=1e-12)
