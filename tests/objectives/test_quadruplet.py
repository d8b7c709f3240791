"""The quadruplet loss against loops."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedmetric.config import parse_experiment
from fedmetric.errors import ConfigError
from fedmetric.objectives.base import Batch
from fedmetric.objectives.quadruplet import Quadruplet, mean_gap
from oracles import pairs
from oracles.geometry import circle, cloud, clusters
from oracles.pairs import cosine_distance, euclidean_distance

BIG = 2**24
LABELS = [[0, 0, 1, 1, 2, 0], [7, 3, 5, 7, 3, 3], [BIG, BIG + 1, BIG + 2, BIG, BIG + 1, BIG + 2], [0, 0, 1, 2, 3, 4]]
LOOPS = {"cosine": cosine_distance, "euclidean": euclidean_distance}


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize(("first", "second"), [(1.0, 0.5), (0.2, 0.0)])
def test_fixed_margins_are_those_of_the_loops(labels: list[int], distance: str, first: float, second: float) -> None:
    points = cloud(6, 4, 1).double()
    chosen = pairs.quadruplets(points.tolist(), labels, LOOPS[distance]).values()
    objective = Quadruplet(4, first_margin=first, second_margin=second, distance=distance)
    found = objective.compare(points, torch.tensor(labels)).item()
    assert found == pytest.approx(pairs.quadruplet(chosen, first, second), abs=1e-6)


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_adaptive_margins_are_those_of_the_loops(spread: float) -> None:
    points, numbers = clusters(4, 3, 5, 1, spread)
    points, labels, d = points.double(), numbers.tolist(), euclidean_distance
    gap = pairs.squared_gap(points.tolist(), labels, d)
    expected = pairs.quadruplet(pairs.quadruplets(points.tolist(), labels, d).values(), gap, 0.5 * gap)
    found = Quadruplet(5, margins="adaptive").compare(points, torch.tensor(labels)).item()
    assert (gap > 0) is (spread < 1)
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_gap_is_never_negative() -> None:
    """Positives are farther apart than negatives: 180 degrees against 90 at most."""
    points, labels = circle(0, 180, 90, 270), torch.tensor([0, 0, 1, 1])
    squared = torch.cdist(points, points).square()
    assert mean_gap(squared, labels).item() == 0
    assert mean_gap(-squared, labels).item() == pytest.approx(2, abs=1e-5)


def test_no_gradient_passes_through_adaptive_margins() -> None:
    """The gradient is that of a loss whose margins are the same numbers, fixed."""
    points, numbers = clusters(3, 2, 4, 1, spread=0.5)
    given, labels = points.double(), torch.from_numpy(numbers)
    gap = pairs.squared_gap(given.tolist(), labels.tolist(), euclidean_distance)
    assert gap > 0
    grads = []
    for objective in (
        Quadruplet(4, margins="adaptive"),
        Quadruplet(4, first_margin=gap, second_margin=0.5 * gap),
    ):
        points = given.clone().requires_grad_()
        objective.compare(points, labels).backward()
        assert points.grad is not None
        grads.append(points.grad)
    assert torch.allclose(*grads, atol=1e-9)


def test_quadruplets_on_a_circle() -> None:
    """Squared chords are 2 - 2 cos. Anchor 0: positive at 60 (1), n1 at 90 (2), n2 at 180, 90 from n1 (2).

    Anchor 60: positive at 0 (1), n1 at 90 (2 - sqrt 3), n2 the same (2). The others have no positive.
    """
    near = 2 - 3**0.5
    expected = ((1 - 2 + 1.0) + 0 + (1 - near + 1.0) + 0) / 2
    found = Quadruplet(2).compare(circle(0, 60, 90, 180).double(), torch.tensor([1, 1, 2, 3])).item()
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [3, 3, 3, 3]])
def test_two_classes_have_no_quadruplet_so_the_loss_is_a_zero_and_does_not_count(labels: list[int]) -> None:
    first = cloud(4, 4, 1).requires_grad_()
    given, objective = Batch((first, cloud(4, 4, 2)), torch.tensor(labels)), Quadruplet(4, distance="mahalanobis")
    network = nn.Linear(4, 4)
    loss = objective(network, given)
    loss.backward()
    assert loss.item() == 0
    grads = [weight.grad for weight in (*network.parameters(), *objective.parameters())]
    assert all(grad is not None and not grad.any() for grad in grads)
    assert objective.contributing(given) == 0


def test_single_views_of_single_images_have_no_positive_so_the_loss_is_a_zero() -> None:
    points = cloud(3, 4, 1).requires_grad_()
    loss = Quadruplet(4).compare(points, torch.arange(3))
    loss.backward()
    assert loss.item() == 0
    assert points.grad is not None
    assert not points.grad.any()


def test_the_backbone_is_passed_once() -> None:
    passes = []
    network = nn.Linear(4, 4)
    network.register_forward_hook(lambda *_: passes.append(1))
    Quadruplet(4)(network, Batch((cloud(6, 4, 1), cloud(6, 4, 2)), torch.arange(6) % 3))
    assert passes == [1]


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ('name = "quadruplet", miner = "hard"', "miner 'hard' does not mine quadruplets; choose one of quadruplet"),
        (
            'name = "triplet", miner = "quadruplet"',
            "miner 'quadruplet' does not mine pairs; choose one of all, distance-weighted, easy-hard, hard, "
            "multi-similarity, semi-hard",
        ),
    ],
)
def test_a_miner_of_something_else_is_refused(objective: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_experiment(f"objective = {{{objective}}}")
    assert f"objective.miner: {message}" in str(error.value)
