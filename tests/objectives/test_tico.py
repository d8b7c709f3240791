"""TiCo's loss and its running covariance against loops."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedmetric.objectives.base import Batch
from fedmetric.objectives.tico import TiCo
from oracles.geometry import circle, cloud
from oracles.redundancy import tico


def bare(dimension: int = 4, beta: float = 0.9, rho: float = 8.0) -> TiCo:
    objective = TiCo(dimension, beta=beta, rho=rho, hidden_dim=4, output_dim=dimension)
    objective.projector = nn.Identity()
    objective.attach(nn.Identity())
    return objective


@pytest.mark.parametrize(("beta", "rho"), [(0.9, 8.0), (0.0, 1.0), (0.5, 0.0)])
def test_three_steps_are_those_of_the_loops(beta: float, rho: float) -> None:
    objective, running = bare(beta=beta, rho=rho), [[0.0] * 4 for _ in range(4)]
    for step in range(3):
        online, target = cloud(5, 4, step).requires_grad_(), cloud(5, 4, 10 + step)
        loss = objective(nn.Identity(), Batch((online, target)))
        expected, running = tico(online.tolist(), target.tolist(), running, beta, rho)
        assert loss.item() == pytest.approx(expected, abs=1e-5)
        assert torch.allclose(objective.covariance.C, torch.tensor(running), atol=1e-6)


def test_the_first_step_of_a_collapsed_batch() -> None:
    """All projections are one unit vector u: no distance, C = 0.1 u u^T, and 8 u^T C u = 0.8."""
    loss = bare(2)(nn.Identity(), Batch((circle(30, 30, 30), circle(30, 30, 30))))
    assert loss.item() == pytest.approx(0.8, abs=1e-6)


def test_without_a_gradient_the_covariance_stays() -> None:
    objective = bare()
    objective(nn.Identity(), Batch((cloud(5, 4, 1), cloud(5, 4, 2))))
    assert torch.equal(objective.covariance.C, torch.zeros(4, 4))


def test_the_covariance_is_state() -> None:
    objective, resumed = bare(), bare()
    objective(nn.Identity(), Batch((cloud(5, 4, 1).requires_grad_(), cloud(5, 4, 2))))
    resumed.load_state_dict(objective.state_dict())
    assert float(resumed.covariance.C.abs().max()) > 0
    assert torch.equal(resumed.covariance.C, objective.covariance.C)
