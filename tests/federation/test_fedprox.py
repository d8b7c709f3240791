"""The proximal term by hand and against autograd."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fedmetric.federation.base import LocalRound, RuleContext, Update
from fedmetric.federation.fedavg import FedAvg
from fedmetric.federation.fedprox import FedProx
from fedmetric.layout import Layout

CONTEXT = RuleContext(Layout({"w": "backbone"}))
NETWORK: Any = None


def parameter(values: list[float], gradient: list[float] | None) -> torch.nn.Parameter:
    made = torch.nn.Parameter(torch.tensor(values))
    made.grad = None if gradient is None else torch.tensor(gradient)
    return made


def correct(mu: float, parameters: dict[str, torch.nn.Parameter], received: dict[str, Tensor]) -> None:
    FedProx(CONTEXT, mu=mu).correct(LocalRound(NETWORK, {}, received=received, parameters=parameters))


def test_mu_times_the_distance_from_the_server_is_added() -> None:
    """Gradient (1, 0) at w = (3, -1), server at (1, 1), mu = 0.5: (1 + 0.5 * 2, 0 + 0.5 * -2) = (2, -1)."""
    weight = parameter([3.0, -1.0], [1.0, 0.0])
    correct(0.5, {"w": weight}, {"w": torch.tensor([1.0, 1.0])})
    assert weight.grad is not None
    assert weight.grad.tolist() == [2.0, -1.0]
    assert weight.tolist() == [3.0, -1.0]


def test_it_is_the_gradient_of_the_proximal_term() -> None:
    start = torch.randn(20, generator=torch.Generator().manual_seed(1))
    weight = torch.nn.Parameter(torch.randn(20, generator=torch.Generator().manual_seed(2)))
    (weight.pow(3).sum() + 0.3 / 2 * (weight - start).pow(2).sum()).backward()
    assert weight.grad is not None
    expected = weight.grad.clone()
    weight.grad = None
    weight.pow(3).sum().backward()
    correct(0.3, {"w": weight}, {"w": start})
    assert torch.allclose(weight.grad, expected, atol=1e-6)


def test_without_mu_every_bit_of_the_gradient_stays() -> None:
    """A gradient of -0 would become +0 if 0 times the distance were added."""
    weight = parameter([3.0, -1.0, 2.0], [-0.0, 1e-30, 5.0])
    assert weight.grad is not None
    before = weight.grad.numpy().tobytes()
    correct(0.0, {"w": weight}, {"w": torch.tensor([1.0, float("inf"), 0.0])})
    assert weight.grad.numpy().tobytes() == before


def test_weights_without_gradient_or_that_the_server_does_not_hold_are_passed_over() -> None:
    frozen, private = parameter([1.0], None), parameter([1.0], [4.0])
    correct(1.0, {"frozen": frozen, "private": private}, {"frozen": torch.zeros(1)})
    assert frozen.grad is None
    assert private.grad is not None
    assert private.grad.tolist() == [4.0]


def test_the_server_averages_as_that_of_fedavg() -> None:
    shared = {"w": np.zeros(3, np.float32)}
    updates = [Update(k, {"w": np.full(3, 0.1 * k, np.float32)}, 5 + k) for k in (1, 2)]
    found = [rule.aggregate({}, shared, updates)[1]["w"] for rule in (FedAvg(CONTEXT), FedProx(CONTEXT, mu=3.0))]
    assert found[0].tobytes() == found[1].tobytes()
