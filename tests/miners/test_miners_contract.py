"""What every registered miner must do, whatever its name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from fedmetric.distances.euclidean import Euclidean
from fedmetric.miners.base import Indices
from fedmetric.registry import miners
from oracles.geometry import cloud

NAMES = sorted(name for name in miners if miners[name].traits.get("mines", "pairs") == "pairs")


def mined(name: str, labels: list[int], points: Tensor | None = None) -> Indices | None:
    miner = miners.build(miners[name].options(), Euclidean())
    torch.manual_seed(1)
    found: Indices | None = miner(cloud(len(labels), 4, 1) if points is None else points, torch.tensor(labels))
    return found


def pairs_of(found: Indices) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return positive and negative pairs, of triplets too."""
    first, near, second, far = found if len(found) == 4 else (found[0], found[1], found[0], found[2])
    return list(zip(first.tolist(), near.tolist(), strict=True)), list(zip(second.tolist(), far.tolist(), strict=True))


def labellings() -> Iterator[list[int]]:
    base = 2**24
    yield from ([0, 0, 1, 1, 2, 2], [7, 3, 5, 7, 3, 3], [base, base + 1, base, base + 1, base, base + 1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("labels", labellings())
def test_positives_are_other_images_of_the_class_and_negatives_of_other_classes(name: str, labels: list[int]) -> None:
    found = mined(name, labels)
    if found is None:
        assert name == "all"
        return
    assert all(column.dtype == torch.int64 for column in found)
    positive, negative = pairs_of(found)
    assert all(labels[a] == labels[p] and a != p for a, p in positive)
    assert all(labels[a] != labels[n] for a, n in negative)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"all"}))
@pytest.mark.parametrize("labels", [[4, 4, 4, 4], [0, 1, 2, 3]])
def test_one_class_has_no_negatives_and_single_images_have_no_positives(name: str, labels: list[int]) -> None:
    found = mined(name, labels)
    assert found is not None
    positive, negative = pairs_of(found)
    assert positive == [] or negative == []


@pytest.mark.parametrize("name", NAMES)
def test_copies_of_an_image_do_no_harm(name: str) -> None:
    points = cloud(3, 4, 1)[[0, 0, 1, 1, 2, 2]]
    for labels in ([0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]):
        mined(name, labels, points)


@pytest.mark.parametrize("name", NAMES)
def test_mining_changes_no_embedding_and_asks_for_no_gradient(name: str) -> None:
    points = cloud(6, 4, 1).requires_grad_()
    before = points.detach().clone()
    mined(name, [0, 0, 1, 1, 2, 2], points)
    assert torch.equal(points, before)
    assert points.grad is None
