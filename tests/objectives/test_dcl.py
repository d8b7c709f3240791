"""DCL's loss against loops, and what sets it apart from NT-Xent."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from fedmetric.objectives.base import Batch
from fedmetric.objectives.dcl import DCL
from fedmetric.objectives.simclr import SimCLR
from oracles.contrastive import decoupled
from oracles.geometry import cloud


def loss_of(kind: type[DCL] | type[SimCLR], first: Tensor, second: Tensor, temperature: float = 0.5) -> float:
    objective = kind(first.shape[1], temperature=temperature, hidden_dim=4, output_dim=3)
    objective.projector = nn.Identity()
    return float(objective(nn.Identity(), Batch((first, second))))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_loss_is_that_of_the_loops(temperature: float, count: int) -> None:
    first, second = cloud(count, 5, 1), cloud(count, 5, 2)
    expected = decoupled(first.tolist(), second.tolist(), temperature)
    assert loss_of(DCL, first, second, temperature) == pytest.approx(expected, abs=1e-4)


def test_two_images_at_right_angles() -> None:
    """The positive lies at cosine 1 and two negatives at cosine 0: with T = 1, -1 + log 2."""
    corners = torch.eye(2)
    assert loss_of(DCL, corners, corners, 1.0) == pytest.approx(math.log(2) - 1, abs=1e-6)


def test_it_is_less_than_nt_xent_whose_denominator_also_holds_the_positive() -> None:
    """Two images whose four views all coincide: log(2 e) - 1 = log 2 against log(3 e) - 1 = log 3."""
    same = torch.ones(2, 3)
    assert loss_of(DCL, same, same, 1.0) == pytest.approx(math.log(2), abs=1e-6)
    assert loss_of(SimCLR, same, same, 1.0) == pytest.approx(math.log(3), abs=1e-6)


def test_the_heads_start_as_those_of_simclr() -> None:
    states = []
    for kind in (DCL, SimCLR):
        torch.manual_seed(1)
        states.append(kind(6).projector.state_dict())
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
