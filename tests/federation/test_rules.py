"""FedAvg and FedProx by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from fedmetric.federation.base import Update
from fedmetric.federation.fedavg import FedAvg
from fedmetric.federation.fedprox import FedProx


def update(client: int, value: float, count: int) -> Update:
    return Update(client, {"w": np.full(3, value, np.float32), "n": np.array(count)}, count)


def test_fedavg_weighs_clients_by_the_images_they_trained_on() -> None:
    """W = (10 * 1 + 30 * 2 + 60 * 5) / 100 = 3.7; the largest counter is 60."""
    shared = {"w": np.zeros(3, np.float32), "n": np.array(0)}
    state, found = FedAvg().aggregate({}, shared, [update(0, 1, 10), update(1, 2, 30), update(2, 5, 60)])
    assert state == {}
    assert found["w"] == pytest.approx(np.full(3, 3.7))
    assert found["n"].item() == 60


def test_fedavg_of_no_replies_keeps_the_weights() -> None:
    shared = {"w": np.ones(3, np.float32)}
    assert FedAvg().aggregate({}, shared, [])[1]["w"].tolist() == [1, 1, 1]


def test_the_order_of_clients_does_not_matter_beyond_rounding() -> None:
    rng = np.random.default_rng(2)
    updates = [Update(c, {"w": rng.normal(size=50)}, int(rng.integers(1, 100))) for c in range(4)]
    shared = {"w": np.zeros(50)}
    means = [FedAvg().aggregate({}, shared, order)[1]["w"] for order in itertools.permutations(updates)]
    assert max(float(np.abs(mean - means[0]).max()) for mean in means) < 1e-12


def test_a_client_counts_as_its_images_dealt_to_two() -> None:
    """Splitting a client's weight between two equal clients changes nothing: (2 * 4 + 2 * 8) / 4 = 6 either way."""
    shared = {"w": np.zeros(3, np.float32), "n": np.array(0)}
    whole = FedAvg().aggregate({}, shared, [update(0, 4, 2), update(1, 8, 2)])[1]["w"]
    dealt = FedAvg().aggregate({}, shared, [update(0, 4, 1), update(1, 8, 2), update(2, 4, 1)])[1]["w"]
    assert whole.tolist() == dealt.tolist() == [6, 6, 6]


def parameter(values: list[float], gradient: list[float] | None) -> torch.nn.Parameter:
    made = torch.nn.Parameter(torch.tensor(values))
    made.grad = None if gradient is None else torch.tensor(gradient)
    return made


def test_fedprox_adds_mu_times_the_distance_from_the_server() -> None:
    """Gradient (1, 0) at w = (3, -1), server at (1, 1), mu = 0.5: (1 + 0.5 * 2, 0 + 0.5 * -2) = (2, -1)."""
    weight = parameter([3.0, -1.0], [1.0, 0.0])
    FedProx(mu=0.5).correct({"w": weight}, {"w": torch.tensor([1.0, 1.0])}, {})
    assert weight.grad is not None
    assert weight.grad.tolist() == [2.0, -1.0]
    assert weight.tolist() == [3.0, -1.0]


def test_fedprox_is_the_gradient_of_the_proximal_term() -> None:
    start = torch.randn(20, generator=torch.Generator().manual_seed(1))
    weight = torch.nn.Parameter(torch.randn(20, generator=torch.Generator().manual_seed(2)))
    (weight.pow(3).sum() + 0.3 / 2 * (weight - start).pow(2).sum()).backward()
    assert weight.grad is not None
    expected = weight.grad.clone()
    weight.grad = None
    weight.pow(3).sum().backward()
    FedProx(mu=0.3).correct({"w": weight}, {"w": start}, {})
    assert torch.allclose(weight.grad, expected, atol=1e-6)


def test_without_mu_fedprox_leaves_every_bit_of_the_gradient() -> None:
    """A gradient of -0 would become +0 if 0 times the distance were added."""
    weight = parameter([3.0, -1.0, 2.0], [-0.0, 1e-30, 5.0])
    assert weight.grad is not None
    before = weight.grad.numpy().tobytes()
    FedProx(mu=0.0).correct({"w": weight}, {"w": torch.tensor([1.0, float("inf"), 0.0])}, {})
    assert weight.grad.numpy().tobytes() == before


def test_fedprox_passes_over_weights_without_gradient_or_that_the_server_does_not_hold() -> None:
    frozen, private = parameter([1.0], None), parameter([1.0], [4.0])
    FedProx(mu=1.0).correct({"frozen": frozen, "private": private}, {"frozen": torch.zeros(1)}, {})
    assert frozen.grad is None
    assert private.grad is not None
    assert private.grad.tolist() == [4.0]


def test_fedprox_averages_as_fedavg_does() -> None:
    shared = {"w": np.zeros(3, np.float32), "n": np.array(0)}
    updates = [update(0, 0.1, 7), update(1, 0.2, 5)]
    found = [rule.aggregate({}, shared, updates)[1]["w"].tobytes() for rule in (FedAvg(), FedProx(mu=3.0))]
    assert found[0] == found[1]
