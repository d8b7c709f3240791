"""DINO's loss against loops, its centre against the mean taken by hand, and its head."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from fedmetric.objectives.base import Batch
from fedmetric.objectives.dino import DINO
from oracles.assignments import distilled
from oracles.geometry import cloud


class Student(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images[:, :4]


class Teacher(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images[:, 4:]


def bare(**options: float) -> DINO:
    """Return the objective without its head: the student sees four numbers of an image, the teacher the other four."""
    objective = DINO(4, hidden_dim=4, bottleneck_dim=3, output_dim=4, **options)
    objective.projector = nn.Identity()
    objective.attach(Teacher())
    return objective


@pytest.mark.parametrize(("sharp", "soft"), [(0.04, 0.1), (0.5, 1.0)])
def test_the_loss_is_that_of_the_loops(sharp: float, soft: float) -> None:
    objective = bare(teacher_temperature=sharp, student_temperature=soft)
    centre = cloud(1, 4, 5)
    objective.centre.center.copy_(centre)
    views = 0.2 * cloud(6, 8, 1), 0.2 * cloud(6, 8, 2)
    teacher, student = [v[:, 4:].tolist() for v in views], [v[:, :4].tolist() for v in views]
    expected = distilled(teacher, student, centre[0].tolist(), sharp, soft)
    assert objective(Student(), Batch(views)).item() == pytest.approx(expected, rel=1e-4)


def test_a_student_without_an_opinion_costs_the_logarithm_of_the_prototypes() -> None:
    """All its logits are 0, so that each of four prototypes gets 1/4 whatever the teacher says: log 4."""
    views = torch.cat([torch.zeros(3, 4), cloud(3, 4, 1)], 1), torch.cat([torch.zeros(3, 4), cloud(3, 4, 2)], 1)
    assert bare()(Student(), Batch(views)).item() == pytest.approx(math.log(4), abs=1e-5)


def test_the_centre_moves_to_the_mean_of_the_teacher_after_the_loss() -> None:
    objective = bare(centre_momentum=0.9)
    views = cloud(6, 8, 1), cloud(6, 8, 2)
    mean = torch.cat(views)[:, 4:].mean(0)
    objective(Student(), Batch(views))
    assert torch.allclose(objective.centre.center.flatten(), 0.1 * mean, atol=1e-6)
    objective(Student(), Batch(views))
    assert torch.allclose(objective.centre.center.flatten(), 0.19 * mean, atol=1e-6)


def test_the_last_layer_is_trained_in_direction_but_not_in_length() -> None:
    torch.manual_seed(1)
    objective = DINO(5, hidden_dim=6, bottleneck_dim=3, output_dim=4)
    objective.attach(nn.Identity())
    last = objective.projector.get_submodule("last_layer")
    for step in range(2):
        objective(nn.Identity(), Batch((cloud(6, 5, step), cloud(6, 5, 9)))).backward()
        with torch.no_grad():
            for weight in objective.projector.parameters():
                weight.sub_(weight.grad if weight.grad is not None else 0)
        assert torch.allclose(last.weight.norm(dim=1), torch.ones(4), atol=1e-6)
    moved = [
        name for name, weight in last.named_parameters() if weight.grad is not None and weight.grad.abs().max() > 0
    ]
    assert moved == ["parametrizations.weight.original1"]


def test_the_head_can_be_copied_after_a_forward_pass() -> None:
    """The head of lightly cannot: its weight norm leaves a tensor that is not a leaf."""
    torch.manual_seed(1)
    objective = DINO(5, hidden_dim=6, bottleneck_dim=3, output_dim=4)
    points = cloud(3, 5, 1)
    found = objective.projector(points)
    assert torch.equal(copy.deepcopy(objective.projector)(points), found)
