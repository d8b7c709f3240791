"""What both halves of every registered federation rule must do, whatever its name."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fedmetric.arrays import Arrays, check_same
from fedmetric.federation.base import FederationRule, LocalRound, Memory, RuleContext, Update
from fedmetric.layout import Layout, Routes, routes
from fedmetric.registry import rules

NAMES = sorted(rules)
TRAITS = ("requires", "needs_public", "personal", "shares", "sends_extra")
PARAMETERS = ("backbone.conv.weight", "backbone.norm.weight", "objective.projector.weight", "objective.predictor.bias")
LAYOUT = Layout(
    groups={
        "backbone.conv.weight": "backbone",
        "backbone.norm.weight": "backbone",
        "backbone.norm.running_mean": "backbone",
        "backbone.norm.running_var": "backbone",
        "backbone.norm.num_batches_tracked": "backbone",
        "objective.projector.weight": "projector",
        "objective.predictor.bias": "predictor",
        "objective.centroids.vectors": "centroids",
        "objective.memory.bank": "memory",
    },
    parameters=frozenset(PARAMETERS),
    norms=frozenset(
        f"backbone.norm.{part}" for part in ("weight", "running_mean", "running_var", "num_batches_tracked")
    ),
    statistics={"backbone.norm.running_mean": "backbone.norm.running_var"},
    convolutions=("backbone.conv.weight",),
    private=frozenset({"memory"}),
)


@pytest.mark.parametrize("name", NAMES)
def test_what_takes_more_than_weights_says_so(name: str) -> None:
    """A site refuses such a rule before it trains, by this trait; what `check_extra` of the base lets in is nothing."""
    assert build(name).sends_extra == (type(build(name)).check_extra is not FederationRule.check_extra)


def build(name: str) -> FederationRule:
    rule = rules.build(rules[name].options(), RuleContext(LAYOUT, num_clients=3))
    assert isinstance(rule, FederationRule)
    return rule


def way(rule: FederationRule) -> Routes:
    return routes(LAYOUT, rule.local(), rule.kept(), rule.held())


def weights(rule: FederationRule) -> Arrays:
    """Return what the server holds under this rule: every float between 1 and 2, so that raising it is no turn."""
    rng = np.random.default_rng(1)
    shapes = {
        "backbone.conv.weight": (3, 2),
        "objective.projector.weight": (2, 3),
        "objective.centroids.vectors": (2, 2),
    }
    found = {name: rng.uniform(1, 2, shapes.get(name, (3,))).astype(np.float32) for name in LAYOUT.groups}
    found["objective.centroids.vectors"] = np.eye(2, dtype=np.float32)
    found["backbone.norm.num_batches_tracked"] = np.array(4, np.int64)
    return {name: found[name] for name in way(rule).server}


def a_round(rule: FederationRule, state: Arrays, shared: Arrays, memory: Memory, client: int = 0) -> LocalRound:
    """Return a round as the training loop hands it to a rule."""
    sent = {name: torch.from_numpy(shared[name].copy()) for name in way(rule).down}
    parameters = {name: torch.nn.Parameter(torch.ones(3)) for name in PARAMETERS}
    parameters |= {name: torch.nn.Parameter(value.clone()) for name, value in sent.items() if name in PARAMETERS}
    memory_rows = SimpleNamespace(rows=lambda: torch.eye(2))
    proxies = torch.nn.functional.normalize(torch.arange(6.0).reshape(2, 1, 3) - client, dim=-1)
    objective = SimpleNamespace(memory=memory_rows, rows=proxies.clone, place=lambda rows: proxies.copy_(rows))
    network: Any = SimpleNamespace(objective=objective, embed=lambda images: images)
    extra = rule.broadcast(state) | rule.broadcast_to(state, client)
    return LocalRound(
        network, memory, extra, sent, parameters,
        lr=0.1, num_steps=5, public=torch.eye(4), client=client, classes=("a", f"b{client}"),
    )  # fmt: skip


def client_round(
    rule: FederationRule, state: Arrays, shared: Arrays, client: int, moved: float, memory: Memory
) -> Update:
    """Play one client whose local training adds `moved` to every parameter, with gradients of 1."""
    now = a_round(rule, state, shared, memory, client)
    rule.start(now)
    down = {name: shared[name].copy() for name in way(rule).down}
    received = rule.receive(down, rule.broadcast(state), memory)
    before = {name: received[name] if name in received else shared[name].copy() for name in way(rule).up}
    steps = now.num_steps
    for now.steps in range(steps):
        for parameter in now.parameters.values():
            parameter.grad = torch.ones_like(parameter)
        rule.correct(now)
    now.steps = steps
    after = {
        name: (array + moved).astype(array.dtype) if name in PARAMETERS else array.copy()
        for name, array in before.items()
    }
    arrays, extra = rule.send(before, after, now)
    return Update(client, arrays, 10 + client, extra)


def same(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def played(rule: FederationRule, *moves: float) -> tuple[Arrays, Arrays, list[Update]]:
    """Return the server's state and weights before a round, and the updates of one client for each move."""
    shared = weights(rule)
    state = rule.init(shared)
    return state, shared, [client_round(rule, state, shared, client, move, {}) for client, move in enumerate(moves)]


def test_the_built_in_rules_are_registered() -> None:
    built_in = {
        "fedavg", "fedprox", "fedavgm", "fedadam", "fedyogi", "scaffold", "fedbn", "fedper", "fedrep", "fedu", "fedema",
        "l-dawa", "feddecorr", "fedx", "orchestra", "solo",
    }  # fmt: skip
    assert built_in <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_read_from_the_file_is_what_a_rule_has(name: str) -> None:
    """Experiments are checked and rules are listed from the literals in the file, without an import."""
    kind, read = type(build(name)), rules[name].traits
    assert {key: read.get(key, getattr(FederationRule, key)) for key in TRAITS} == {
        key: getattr(kind, key) for key in TRAITS
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_rule_names_tensors_of_the_network_and_private_groups_stay(name: str) -> None:
    rule = build(name)
    assert {*rule.local(), *rule.kept()} <= LAYOUT.groups.keys()
    assert "objective.memory.bank" not in way(rule).up
    assert set(way(rule).down) <= set(way(rule).up)
    assert set(way(rule).down) <= set(way(rule).server)


@pytest.mark.parametrize("name", NAMES)
def test_a_round_returns_weights_of_the_same_names_shapes_and_types(name: str) -> None:
    rule = build(name)
    state, shared, updates = played(rule, 0.0, 0.1, 0.2)
    for update in updates:
        check_same(update.arrays, {key: shared[key] for key in way(rule).up}, name)
    _, found = rule.aggregate(state, shared, updates)
    check_same(found, shared, name)
    assert all(np.isfinite(array).all() for array in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_no_client_changed_stay(name: str) -> None:
    rule = build(name)
    state, shared, updates = played(rule, 0.0, 0.0)
    for _ in range(2):
        state, found = rule.aggregate(state, shared, updates)
        for key in shared:
            if not key.startswith("objective.centroids"):  # made anew by the server
                assert np.allclose(found[key], shared[key], rtol=1e-6, atol=1e-7), key


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_every_client_raises_rise(name: str) -> None:
    rule = build(name)
    state, shared, updates = played(rule, 0.5, 0.5)
    _, found = rule.aggregate(state, shared, updates)
    assert [key for key in PARAMETERS if key in way(rule).up and not (found[key] > shared[key]).all()] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_server_changes_none_of_its_inputs(name: str) -> None:
    rule = build(name)
    state, shared, updates = played(rule, 0.3, 0.3)
    state, _ = rule.aggregate(state, shared, updates)  # a state with something in it
    before = copy.deepcopy((state, shared, updates))
    rule.aggregate(state, shared, updates)
    assert same(state, before[0])
    assert same(shared, before[1])
    for update, kept in zip(updates, before[2], strict=True):
        assert same(update.arrays, kept.arrays)
        assert same(update.extra, kept.extra)


@pytest.mark.parametrize("name", NAMES)
def test_a_round_without_replies_keeps_the_weights_in_arrays_of_their_own(name: str) -> None:
    rule = build(name)
    shared = weights(rule)
    kept = copy.deepcopy(shared)
    _, found = rule.aggregate(rule.init(shared), shared, [])
    assert same(found, kept)
    for array in found.values():
        array[...] = 77
    assert same(shared, kept)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_clients_does_not_matter_beyond_rounding(name: str) -> None:
    rule = build(name)
    state, shared, updates = played(rule, 0.0, 0.3, 0.6)
    one, two = (rule.aggregate(state, shared, order) for order in (updates, updates[::-1]))
    for first, second in zip(one, two, strict=True):
        assert first.keys() == second.keys()
        assert all(np.allclose(first[key], second[key], rtol=1e-6, atol=1e-7) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_correcting_gradients_changes_gradients_only(name: str) -> None:
    rule = build(name)
    state, shared, updates = played(rule, 0.1, 0.2)
    state, shared = rule.aggregate(state, shared, updates)
    now = a_round(rule, state, shared, {})
    kept = {key: value.detach().clone() for key, value in now.parameters.items()}
    received = {key: value.clone() for key, value in now.received.items()}
    for value in now.parameters.values():
        value.grad = torch.ones_like(value)
    rule.correct(now)
    for key, value in now.parameters.items():
        assert torch.equal(value.detach(), kept[key])
        assert value.grad is None or torch.isfinite(value.grad).all()
    assert all(torch.equal(value, received[key]) for key, value in now.received.items())


@pytest.mark.parametrize("name", NAMES)
def test_state_memory_and_broadcast_are_arrays_by_name(name: str) -> None:
    """All are stored or sent as named arrays, so nothing else may hide in them."""
    rule = build(name)
    memory: Memory = {}
    state, shared, updates = played(rule, 0.1)
    state, shared = rule.aggregate(state, shared, updates)
    update = client_round(rule, state, shared, 0, 0.1, memory)
    rule.check_extra(update.extra, shared)
    assert all(isinstance(value, float) for value in rule.figures(state).values())
    for arrays in (state, memory, rule.broadcast(state), rule.broadcast_to(state, 0), update.extra):
        assert all(isinstance(key, str) and isinstance(value, np.ndarray) for key, value in arrays.items())


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_description(name: str) -> None:
    fields = {key: field for key, field in rules[name].options.model_fields.items() if key != "name"}
    assert [key for key, field in fields.items() if not field.description] == []
    assert rules[name].summary
