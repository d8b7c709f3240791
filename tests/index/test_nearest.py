"""The exact search beside one that sorts every distance, for everything that is registered as a distance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from fedmetric.distances.base import PairDistance
from fedmetric.index import nearest as module
from fedmetric.index.nearest import Gallery
from oracles.geometry import cloud
from trained_distance import NAMES, trained


def distance(name: str, dim: int = 6) -> PairDistance:
    return trained(name, dim, by=0.3)


def sorted_by_hand(queries: Tensor, gallery: Tensor, measure: PairDistance, count: int) -> list[list[int]]:
    queries, gallery = queries.double(), gallery.double()
    with torch.no_grad():
        far = [[float(measure(query[None], row[None])) for row in gallery] for query in queries]
    return [sorted(range(len(gallery)), key=lambda row: line[row])[:count] for line in far]


@pytest.mark.parametrize("name", NAMES)
def test_the_nearest_are_those_of_a_sort_by_the_distance(name: str) -> None:
    queries, gallery, measure = cloud(9, 6, 1), cloud(40, 6, 2), distance(name)
    rows, far = Gallery(gallery, measure).nearest(queries, 7)
    assert rows.tolist() == sorted_by_hand(queries, gallery, measure, 7)
    with torch.no_grad():
        expected = measure(queries.double(), gallery.double()).gather(1, rows)
    assert torch.allclose(far, expected, atol=1e-9)
    assert (far.diff(dim=1) >= -1e-7).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_equally_near_comes_in_the_order_of_the_gallery(name: str) -> None:
    gallery = cloud(4, 6, 3)[[2, 0, 1, 0, 3, 0]]
    rows, far = Gallery(gallery, distance(name)).nearest(gallery[1:2], 2)
    assert rows.tolist() == [[1, 3]]
    assert far[0].tolist() == pytest.approx([0, 0], abs=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_copies_come_in_order_wherever_they_stand_in_a_large_gallery(name: str) -> None:
    """Rounding differs with the place of a row in a product; what is equal stays in order all the same."""
    few = cloud(40, 64, 5)
    gallery = few[torch.arange(1200) % 40]
    rows, _ = Gallery(gallery, distance(name, 64)).nearest(few, 7)
    assert rows.tolist() == [[place + 40 * copy for copy in range(7)] for place in range(40)]


def test_a_gallery_of_equals_is_searched_in_order() -> None:
    rows, _ = Gallery(torch.ones(50, 6), distance("cosine")).nearest(cloud(2, 6, 1), 4)
    assert rows.tolist() == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize(("count", "size"), [(5, 3), (1, 1), (3, 0)])
def test_no_more_is_found_than_there_is(count: int, size: int) -> None:
    rows, far = Gallery(cloud(size, 6, 2), distance("cosine")).nearest(cloud(2, 6, 1), count)
    assert rows.shape == far.shape == (2, min(count, size))


def test_no_queries_find_nothing() -> None:
    assert Gallery(cloud(3, 6, 1), distance("euclidean")).nearest(torch.empty(0, 6), 2)[0].shape == (0, 2)


@pytest.mark.parametrize("name", NAMES)
def test_the_size_of_a_block_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, gallery = cloud(21, 6, 1), Gallery(cloud(60, 6, 2), distance(name))
    rows, far = gallery.nearest(queries, 5)
    monkeypatch.setattr(module, "BLOCK_BYTES", 4 * 60 * 2)
    monkeypatch.setattr(module, "PAIR_ELEMENTS", 50)
    again = gallery.nearest(queries, 5)
    assert torch.equal(rows, again[0])
    assert torch.allclose(far, again[1], atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("apart", [1e-3, 1e-4, 1e-5, 1e-6])
def test_rows_that_differ_less_than_a_first_pass_can_see_are_still_told_apart(name: str, apart: float) -> None:
    """A distance that is 0 to the last bit between all of them cannot tell them apart, so only it is compared."""
    gallery = cloud(1, 64, 1) + apart * cloud(200, 64, 2)
    measure = distance(name, 64)
    rows, far = Gallery(gallery, measure).nearest(gallery[:50], 10)
    with torch.no_grad():
        expected = measure(gallery[:50].double(), gallery.double())
    assert torch.allclose(far, expected.sort(dim=1).values[:, :10], atol=2 * module.TIE, rtol=0)
    assert torch.allclose(far, expected.gather(1, rows), atol=2 * module.TIE, rtol=0)
