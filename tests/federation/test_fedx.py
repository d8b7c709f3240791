"""FedX's added terms against loops over all pairs."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedmetric.federation.base import LocalRound, RuleContext
from fedmetric.federation.fedx import FedX, contrast, relational
from fedmetric.layout import Layout
from fedmetric.objectives.base import Batch
from oracles.geometry import circle, cloud
from oracles.ntxent import nt_xent
from oracles.relations import divergence

CONTEXT = RuleContext(Layout({}))


@pytest.mark.parametrize(("count", "temperature"), [(2, 0.1), (5, 0.5), (9, 1.0)])
def test_the_contrast_is_nt_xent_by_loops(count: int, temperature: float) -> None:
    first, second = cloud(count, 3, 1), cloud(count, 3, 2)
    wanted = nt_xent(first.tolist(), second.tolist(), temperature)
    assert float(contrast(first, second, temperature)) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("count", "temperature"), [(3, 0.5), (4, 0.1), (8, 1.0)])
def test_the_relational_term_is_the_jensen_shannon_divergence_by_loops(count: int, temperature: float) -> None:
    first, second = cloud(count, 3, 3), cloud(count, 3, 4)
    wanted = divergence(first.tolist(), second.tolist(), temperature)
    assert float(relational(first, second, temperature)) == pytest.approx(wanted, rel=1e-4)


def test_relations_that_a_rotation_and_a_stretch_keep_do_not_diverge() -> None:
    degrees = (0.0, 20.0, 90.0, 200.0)
    turned = 3 * circle(*(angle + 77 for angle in degrees))
    assert float(relational(circle(*degrees), turned, 0.1)) == pytest.approx(0, abs=1e-6)


def test_opposite_relations_diverge_by_at_most_the_logarithm_of_two() -> None:
    """At a small temperature each image's share lies on its nearest other; here never on the same: JS = log 2."""
    first, second = circle(0, 1, 90, 91), circle(0, 90, 1, 91)
    assert float(relational(first, second, 1e-3)) == pytest.approx(math.log(2), rel=1e-4)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_have_no_relations(count: int) -> None:
    points = cloud(count, 3, 5).requires_grad_()
    value = relational(points, cloud(count, 3, 6), 0.1)
    value.backward()
    assert float(value.detach()) == 0
    assert points.grad is not None
    assert not points.grad.any()


def linear(seed: int) -> nn.Linear:
    layer = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(cloud(3, 3, seed))
    return layer


@pytest.fixture
def network() -> Any:
    return SimpleNamespace(backbone=linear(10), objective=SimpleNamespace(projector=linear(11), predictor=linear(12)))


def step(rule: FedX, now: LocalRound) -> Tensor:
    """Return the penalty of a step on two fixed views of four points."""
    now.batch = Batch((cloud(4, 3, 7), cloud(4, 3, 8)))
    now.representations = tuple(now.network.backbone(view) for view in now.batch.views)
    value = rule.penalty(now)
    assert value is not None
    return value


def by_loops(network: Any, server: tuple[nn.Module, nn.Module], temperature: float) -> float:
    views = (cloud(4, 3, 7), cloud(4, 3, 8))
    with torch.no_grad():
        local = [network.objective.projector(network.backbone(view)) for view in views]
        guess = [network.objective.predictor(found).tolist() for found in local]
        theirs = [server[1](server[0](view)).tolist() for view in views]
    total = divergence(local[0].tolist(), local[1].tolist(), temperature)
    for ours, other in ((guess[0], theirs[1]), (guess[1], theirs[0])):
        total += nt_xent(ours, other, temperature) / 2 + divergence(ours, other, temperature) / 2
    return total


def test_the_penalty_adds_the_local_relations_and_both_terms_across_the_networks(network: Any) -> None:
    value = step(FedX(CONTEXT, weight=0.5, temperature=0.5), LocalRound(network, {}))
    wanted = by_loops(network, (network.backbone, network.objective.projector), 0.5)
    assert float(value.detach()) == pytest.approx(0.5 * wanted, rel=1e-4)


def test_the_servers_network_is_that_of_the_first_step_and_gets_no_gradient(network: Any) -> None:
    rule, now = FedX(CONTEXT, temperature=0.5), LocalRound(network, {})
    step(rule, now)
    received = (linear(10), linear(11))
    with torch.no_grad():
        network.backbone.weight += 1
        network.objective.projector.weight -= 1
    value = step(rule, now)
    assert float(value.detach()) == pytest.approx(by_loops(network, received, 0.5), rel=1e-4)
    value.backward()
    for layer in (network.backbone, network.objective.projector, network.objective.predictor):
        assert float(layer.weight.grad.abs().sum()) > 0
    assert all(weight.grad is None for weight in now.scratch["server"].parameters())


def test_without_weight_there_is_no_penalty_at_all(network: Any) -> None:
    assert FedX(CONTEXT, weight=0).penalty(LocalRound(network, {})) is None
