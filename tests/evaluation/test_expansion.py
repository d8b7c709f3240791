from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmetric.evaluation import expansion as module
from fedmetric.evaluation.expansion import alpha_qe, expand_queries
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.similarity import on_grid, similarity
from oracles.geometry import circle, cloud, tied_points
from oracles.reranking import expanded
from oracles.retrieval import cosine, negative_distance


def points_of(count: int, dim: int, seed: int) -> Labelled:
    return Labelled(cloud(count, dim, seed), np.zeros(count, np.int64))


def test_a_query_moves_towards_its_neighbour_by_the_power_of_their_similarity() -> None:
    """At 0, 60 and 180 degrees with n = 1 the first adds the second with weight cos(60)^2 = 1/4, over 5/4."""
    found = expand_queries(Labelled(circle(0, 60, 180), np.zeros(3, np.int64)), num=1, alpha=2)
    assert found[0].tolist() == pytest.approx([(1 + 0.25 * 0.5) / 1.25, 0.25 * np.sin(np.pi / 3) / 1.25], abs=1e-6)


def test_an_opposite_neighbour_weighs_nothing() -> None:
    found = expand_queries(Labelled(circle(0, 180), np.zeros(2, np.int64)), num=1)
    assert torch.allclose(found, circle(0, 180).double(), atol=1e-6)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("num", "alpha"), [(1, 3.0), (5, 3.0), (10, 1.0), (4, 0.0)])
def test_expanded_queries_are_those_of_one_image_at_a_time(distance, num: int, alpha: float) -> None:
    images = points_of(25, 4, 2)
    near = cosine if distance == "cosine" else negative_distance
    found = expand_queries(images, distance, num=num, alpha=alpha)
    longest = 1.0 if distance == "cosine" else float(images.embeddings.double().norm(dim=1).max())
    if alpha == 0:  # the oracle leaves out what is behind the query, average expansion does not
        images = Labelled(images.embeddings.abs(), images.labels)
        found = expand_queries(images, distance, num=num, alpha=alpha)
        longest = 1.0 if distance == "cosine" else float(images.embeddings.double().norm(dim=1).max())
    rows = images.embeddings.double().tolist()
    for query in range(25):
        assert (found[query] * longest).tolist() == pytest.approx(expanded(query, rows, near, num, alpha), abs=1e-6)


def test_no_neighbours_change_nothing() -> None:
    images = points_of(12, 3, 0)
    (grid,) = on_grid(images.embeddings, distance="cosine")
    assert torch.equal(expand_queries(images, num=0), grid.double())
    rows, nearness = next(alpha_qe(Labelled(images.embeddings[:1], images.labels[:1])))
    assert (rows.tolist(), nearness.shape) == ([0], (1, 1))


@pytest.mark.parametrize("make", [cloud, tied_points])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_neither_block_nor_order_of_the_rows_changes_a_bit(make, distance, monkeypatch: pytest.MonkeyPatch) -> None:
    images = Labelled(make(64, 6, 0), np.zeros(64, np.int64))
    whole = expand_queries(images, distance)
    turned = np.random.default_rng(0).permutation(64)
    assert torch.equal(expand_queries(images.subset(turned), distance), whole[torch.from_numpy(turned)])
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 64 * 5)
    assert torch.equal(expand_queries(images, distance), whole)


def test_the_gallery_is_searched_as_it_was() -> None:
    images = points_of(20, 4, 1)
    asked, known = (on_grid(rows, distance="cosine")[0] for rows in (expand_queries(images), images.embeddings))
    rows, nearness = next(alpha_qe(images))
    assert rows.tolist() == list(range(20))
    assert torch.equal(nearness, similarity(asked, known, "cosine"))
