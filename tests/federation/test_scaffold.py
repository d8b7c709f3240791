"""SCAFFOLD against the paper's own formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fedmetric.arrays import Arrays
from fedmetric.federation.base import LocalRound, RuleContext, Update
from fedmetric.federation.fedavg import FedAvg
from fedmetric.federation.scaffold import Scaffold
from fedmetric.layout import Layout

LAYOUT = Layout({"w": "backbone", "mean": "backbone", "own": "head"}, frozenset({"w", "own"}))
NETWORK: Any = None
LR = 0.05


def train(
    rule: Scaffold, state: Arrays, shared: Arrays, client: int, memory: Arrays, goal: float, steps: int = 7
) -> Update:
    """Take plain SGD steps on (w - goal)^2 / 2 summed over w, and on a weight that is not shared."""
    parameters = {name: torch.nn.Parameter(torch.from_numpy(shared["w"].copy())) for name in ("w", "own")}
    now = LocalRound(
        NETWORK,
        memory,
        rule.broadcast(state),
        {"w": torch.from_numpy(shared["w"].copy())},
        parameters,
        LR,
        num_steps=steps,
    )
    for now.steps in range(steps):
        for weight in parameters.values():
            weight.grad = weight.detach() - goal
        rule.correct(now)
        with torch.no_grad():
            for weight in parameters.values():
                weight -= LR * weight.grad
    now.steps = steps
    arrays, extra = rule.send(shared, {"w": parameters["w"].detach().numpy().copy()}, now)
    return Update(client, arrays, steps, extra)


def test_the_clients_variate_is_option_two_of_the_paper_under_plain_sgd() -> None:
    """c_k+ = c_k - c + (x - y_k) / (K lr), over three rounds of two clients that pull apart."""
    rule = Scaffold(RuleContext(LAYOUT, num_clients=2))
    shared, state = {"w": np.array([0.5, -1.0, 2.0], np.float32)}, rule.init({})
    memories: dict[int, Arrays] = {0: {}, 1: {}}
    variates, common = {k: np.zeros(3) for k in (0, 1)}, np.zeros(3)
    for _ in range(3):
        updates = [train(rule, state, shared, k, memories[k], goal) for k, goal in ((0, 3.0), (1, -1.0))]
        changes = []
        for k, update in enumerate(updates):
            new = variates[k] - common + (shared["w"] - update.arrays["w"]) / (7 * LR)
            np.testing.assert_allclose(memories[k]["w"], new, rtol=1e-4, atol=1e-5)
            changes.append(new - variates[k])
            variates[k] = new
        common = common + np.mean(changes, axis=0)
        state, shared = rule.aggregate(state, shared, updates)
        np.testing.assert_allclose(state["w"], common, rtol=1e-4, atol=1e-5)


def test_gradients_are_shifted_by_the_difference_of_the_variates() -> None:
    """Gradient 1 at c = 0.5 and c_k = 2: 1 + 0.5 - 2 = -0.5; the variate is the mean of the uncorrected 1."""
    rule = Scaffold(RuleContext(LAYOUT))
    weight = torch.nn.Parameter(torch.zeros(1))
    memory = {"w": np.array([2.0], np.float32)}
    now = LocalRound(
        NETWORK, memory, {"w": np.array([0.5], np.float32)}, {"w": torch.zeros(1)}, {"w": weight}, num_steps=1
    )
    weight.grad = torch.ones(1)
    rule.correct(now)
    assert weight.grad.tolist() == [-0.5]
    now.steps = 1
    _, extra = rule.send({}, {"w": np.zeros(1, np.float32)}, now)
    assert memory["w"].tolist() == [1.0]
    assert extra["w"].tolist() == [-1.0]


@pytest.mark.parametrize(("replies", "clients"), [(1, 1), (2, 2), (2, 8), (1, 5)])
def test_the_servers_variate_moves_by_the_share_of_clients_that_replied(replies: int, clients: int) -> None:
    """C = 10 plus |S| / N times the mean change, whatever images the clients have: changes 4 and 8 by turns."""
    rule = Scaffold(RuleContext(LAYOUT, num_clients=clients))
    changes = [4.0, 8.0][:replies]
    updates = [
        Update(k, {"w": np.zeros(1, np.float32)}, 1 + 99 * k, {"w": np.array([change], np.float32)})
        for k, change in enumerate(changes)
    ]
    state, _ = rule.aggregate({"w": np.array([10.0])}, {"w": np.zeros(1, np.float32)}, updates)
    assert state["w"].item() == pytest.approx(10 + replies / clients * np.mean(changes))


def test_weights_are_averaged_by_images_as_fedavg_does() -> None:
    shared = {"w": np.zeros(2, np.float32), "mean": np.zeros(2, np.float32)}
    updates = [
        Update(k, {name: np.full(2, k + 0.3, np.float32) for name in shared}, 3 + k, {"w": np.ones(2, np.float32)})
        for k in range(2)
    ]
    found, wanted = (kind(RuleContext(LAYOUT)).aggregate({}, shared, updates)[1] for kind in (Scaffold, FedAvg))
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in wanted.items()
    }


def test_a_weight_that_does_not_travel_has_no_variate_and_keeps_its_gradient() -> None:
    rule = Scaffold(RuleContext(LAYOUT))
    memory: Arrays = {}
    update = train(rule, {"w": np.ones(3)}, {"w": np.zeros(3, np.float32)}, 0, memory, 1.0)
    assert set(update.extra) == set(memory) == {"w"}


def test_in_the_first_round_nothing_is_broadcast_and_every_bit_of_a_gradient_stays() -> None:
    rule = Scaffold(RuleContext(LAYOUT))
    assert rule.broadcast(rule.init({"w": np.zeros(2)})) == {}
    weight = torch.nn.Parameter(torch.zeros(2))
    weight.grad = torch.tensor([-0.0, 1e-30])
    before = weight.grad.numpy().tobytes()
    rule.correct(LocalRound(NETWORK, {}, {}, {"w": torch.zeros(2)}, {"w": weight}, num_steps=1))
    assert weight.grad.numpy().tobytes() == before


def test_clients_that_pull_apart_stop_drifting() -> None:
    """Goals 3 and -1 with equal images: at the fixed point c_0 = -2 and c_1 = 2 around w = 1, no client moves."""
    rule = Scaffold(RuleContext(LAYOUT, num_clients=2))
    shared, state = {"w": np.zeros(1, np.float32)}, rule.init({})
    memories: dict[int, Arrays] = {0: {}, 1: {}}
    for _ in range(40):
        updates = [train(rule, state, shared, k, memories[k], goal) for k, goal in ((0, 3.0), (1, -1.0))]
        state, shared = rule.aggregate(state, shared, updates)
    assert [update.arrays["w"].item() for update in updates] == pytest.approx([1.0, 1.0], abs=1e-4)
    assert (memories[0]["w"].item(), memories[1]["w"].item()) == pytest.approx((-2.0, 2.0), abs=1e-4)
