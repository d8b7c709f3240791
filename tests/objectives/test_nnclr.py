"""NNCLR's loss against loops, and its queue."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from fedmetric.errors import ConfigError
from fedmetric.objectives.base import Batch
from fedmetric.objectives.nnclr import NNCLR
from oracles.contrastive import neighbour_contrast
from oracles.geometry import circle, cloud


def bare(queue: Tensor, temperature: float = 0.1, predictor: nn.Module | None = None) -> NNCLR:
    size, dimension = queue.shape
    objective = NNCLR(dimension, temperature=temperature, queue_size=size, hidden_dim=4, output_dim=dimension)
    objective.projector, objective.predictor = nn.Identity(), predictor or nn.Identity()
    objective.queue.bank.copy_(queue)
    return objective


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_loss_is_that_of_the_loops(temperature: float) -> None:
    torch.manual_seed(1)
    predictor = nn.Linear(4, 4)
    first, second, queue = cloud(5, 4, 1), cloud(5, 4, 2), normalize(cloud(9, 4, 3))
    one, two = predictor(first), predictor(second)
    expected = neighbour_contrast(*(x.tolist() for x in (first, second, one, two, queue)), temperature)
    found = bare(queue, temperature, predictor)(nn.Identity(), Batch((first, second)))
    assert found.item() == pytest.approx(expected, abs=1e-5)


def test_images_whose_neighbours_stand_at_right_angles() -> None:
    """10 and 80 degrees find 0 and 90; their predictions, put at 0 and 90, lie at cosine 1 and 0: -log(e / (e + 1))."""

    class Snap(nn.Module):
        def forward(self, points: Tensor) -> Tensor:
            return points.round()

    objective = bare(circle(0, 90, 200), 1.0, Snap())
    loss = objective(nn.Identity(), Batch((circle(10, 80), circle(10, 80))))
    assert loss.item() == pytest.approx(-math.log(math.e / (math.e + 1)), abs=1e-6)


def test_the_first_views_join_the_queue_after_neighbours_are_sought() -> None:
    """A neighbour of itself would have cosine 1; the queue of the first step lies at 180 degrees."""
    objective = bare(circle(180, 180, 180), 1.0)
    first, second = circle(0, 90).requires_grad_(), circle(5, 95)
    expected = neighbour_contrast(*(x.tolist() for x in (first, second, first, second, circle(180))), 1.0)
    assert objective(nn.Identity(), Batch((3 * first, second))).item() == pytest.approx(expected, abs=1e-6)
    assert torch.allclose(objective.queue.bank, torch.cat([circle(0, 90), circle(180)]), atol=1e-6)


def test_the_neighbours_are_constants() -> None:
    """Only predictions carry the gradient: a predictor that ignores its input leaves the projections without any."""

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.points = nn.Parameter(cloud(3, 4, 7))

        def forward(self, points: Tensor) -> Tensor:
            return self.points

    first, predictor = cloud(3, 4, 1).requires_grad_(), Constant()
    bare(normalize(cloud(5, 4, 3)), predictor=predictor)(nn.Identity(), Batch((first, cloud(3, 4, 2)))).backward()
    assert first.grad is None
    assert predictor.points.grad is not None


def test_a_queue_longer_than_a_client_is_refused() -> None:
    objective = NNCLR(5, queue_size=100)
    objective.check_client(0, 100, 10)
    with pytest.raises(ConfigError, match="objective.queue_size=100 but client 3 holds 99 images; lower .* at most 99"):
        objective.check_client(3, 99, 10)
