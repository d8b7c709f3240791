"""The loss of prototypical networks against loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fedmetric.objectives.base import Batch
from fedmetric.objectives.prototypes import Prototypes, support_rows
from oracles.geometry import circle, cloud
from oracles.pairs import cosine_distance, euclidean_distance, prototypes

BIG = 2**24
LOOPS = {"cosine": cosine_distance, "euclidean": euclidean_distance}


@pytest.mark.parametrize(
    "labels", [[0, 0, 1, 1, 2, 0], [7, 3, 5, 7, 3, 3], [BIG, BIG + 1, BIG, BIG + 1, BIG, BIG], [0, 1, 2, 3, 4, 5]]
)
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_loss_is_that_of_the_loops(labels: list[int], distance: str, temperature: float) -> None:
    views = cloud(6, 4, 1).double(), cloud(6, 4, 2).double()
    expected = prototypes([view.tolist() for view in views], labels, LOOPS[distance], temperature)
    objective = Prototypes(4, temperature=temperature, distance=distance)
    found = objective.compare(torch.cat(views), torch.tensor(labels * 2), 2).item()
    assert found == pytest.approx(expected, abs=1e-6)


def test_with_one_view_single_images_are_prototypes_that_mislead_and_no_queries() -> None:
    """Class 1 at 0, 120 degrees and class 2 at 60: the query at 120 is at squared chords 3 and 1.

    With T = 1 it pays 3 + log(exp(-3) + exp(-1)).
    """
    found = Prototypes(2, temperature=1.0).compare(circle(0, 120, 60).double(), torch.tensor([1, 1, 2])).item()
    assert found == pytest.approx(3 + math.log(math.exp(-3) + math.exp(-1)), abs=1e-6)


def test_every_other_image_of_a_class_is_support_with_all_its_views() -> None:
    """Class 4 has images 0, 1 and 3, class 9 only image 2, whose second view is a query."""
    found = support_rows(torch.tensor([4, 4, 9, 4, 4, 4, 9, 4]), 2)
    assert found.tolist() == [True, False, True, True, True, False, False, True]


def test_single_views_of_single_images_leave_no_query_so_the_loss_is_a_zero() -> None:
    points = cloud(3, 4, 1).requires_grad_()
    loss = Prototypes(4).compare(points, torch.arange(3))
    loss.backward()
    assert loss.item() == 0
    assert points.grad is not None
    assert not points.grad.any()


def test_separated_classes_cost_nothing() -> None:
    """All images of a class coincide and the classes are at right angles: each pays about exp(-2 / 0.1)."""
    points = circle(0, 0, 90, 90)
    loss = Prototypes(2)(nn.Identity(), Batch((points, points), torch.tensor([0, 0, 1, 1])))
    assert loss.item() == pytest.approx(0, abs=1e-6)
