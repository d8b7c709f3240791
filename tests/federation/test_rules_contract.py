"""What both halves of every registered federation rule must do, whatever its name."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from fedmetric.arrays import Arrays, check_same
from fedmetric.federation.base import FederationRule, Memory, Update
from fedmetric.registry import rules

NAMES = sorted(rules)
STEPS, LR = 5, 0.1


def build(name: str) -> FederationRule:
    rule = rules.build(rules[name].options())
    assert isinstance(rule, FederationRule)
    return rule


def weights(seed: int = 1) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        "layer.weight": rng.normal(size=(3, 2)).astype(np.float32),
        "layer.bias": rng.normal(size=3).astype(np.float32),
        "norm.num_batches_tracked": np.array(seed, np.int64),
    }


def client_round(
    rule: FederationRule, state: Arrays, shared: Arrays, client: int, moved: float, memory: Memory
) -> Update:
    """Play one client whose local training adds `moved` to every float."""
    before = rule.receive(copy.deepcopy(shared), rule.broadcast(state), memory)
    after = {name: array + moved if array.dtype.kind == "f" else array.copy() for name, array in before.items()}
    after = {name: array.astype(before[name].dtype) for name, array in after.items()}
    arrays, extra = rule.send(before, after, memory, STEPS, LR)
    return Update(client, arrays, 10 + client, extra)


def same(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_the_built_in_rules_are_registered() -> None:
    assert {"fedavg", "fedprox"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_round_returns_weights_of_the_same_names_shapes_and_types(name: str) -> None:
    rule, shared = build(name), weights()
    state = rule.init(shared)
    updates = [client_round(rule, state, shared, client, 0.1 * client, {}) for client in range(3)]
    _, found = rule.aggregate(state, shared, updates)
    check_same(found, shared, name)
    assert all(np.isfinite(array).all() for array in found.values())


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_no_client_changed_stay(name: str) -> None:
    rule, shared = build(name), weights()
    state = rule.init(shared)
    for _ in range(2):
        state, found = rule.aggregate(state, shared, [client_round(rule, state, shared, 0, 0.0, {})])
        for key in shared:
            assert np.allclose(found[key], shared[key], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_weights_that_every_client_raises_do_not_fall(name: str) -> None:
    rule, shared = build(name), weights()
    state = rule.init(shared)
    updates = [client_round(rule, state, shared, client, 0.5, {}) for client in range(2)]
    _, found = rule.aggregate(state, shared, updates)
    assert (found["layer.weight"] > shared["layer.weight"]).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_server_changes_none_of_its_inputs(name: str) -> None:
    rule, shared = build(name), weights()
    state = rule.init(shared)
    updates = [client_round(rule, state, shared, client, 0.3, {}) for client in range(2)]
    before = copy.deepcopy((state, shared, updates))
    rule.aggregate(state, shared, updates)
    assert same(state, before[0])
    assert same(shared, before[1])
    for update, kept in zip(updates, before[2], strict=True):
        assert same(update.arrays, kept.arrays)
        assert same(update.extra, kept.extra)


@pytest.mark.parametrize("name", NAMES)
def test_the_new_weights_are_not_views_of_the_old_ones(name: str) -> None:
    rule, shared = build(name), weights()
    kept = copy.deepcopy(shared)
    _, found = rule.aggregate(rule.init(shared), shared, [])
    for array in found.values():
        array[...] = 77
    assert same(shared, kept)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_clients_does_not_matter_beyond_rounding(name: str) -> None:
    rule, shared = build(name), weights()
    state = rule.init(shared)
    updates = [client_round(rule, state, shared, client, 0.3 * client, {}) for client in range(3)]
    first, second = (rule.aggregate(state, shared, order)[1] for order in (updates, updates[::-1]))
    assert all(np.allclose(first[key], second[key], rtol=1e-6, atol=1e-7) for key in shared)


@pytest.mark.parametrize("name", NAMES)
def test_correcting_gradients_changes_gradients_only(name: str) -> None:
    rule, shared = build(name), weights()
    memory: Memory = {}
    rule.receive(shared, rule.broadcast(rule.init(shared)), memory)
    start = {key: torch.from_numpy(array.copy()) for key, array in shared.items()}
    parameters = {key: torch.nn.Parameter(start[key] + 0.5) for key in ("layer.weight", "layer.bias")}
    kept = {key: value.detach().clone() for key, value in parameters.items()}
    for value in parameters.values():
        value.grad = torch.ones_like(value)
    rule.correct(parameters, start, memory)
    for key, value in parameters.items():
        assert torch.equal(value.detach(), kept[key])
        assert torch.equal(start[key], torch.from_numpy(shared[key]))
        assert value.grad is not None
        assert torch.isfinite(value.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_state_and_memory_are_arrays_by_name(name: str) -> None:
    """Both are stored and sent as named arrays, so nothing else may hide in them."""
    rule, shared = build(name), weights()
    memory: Memory = {}
    state = rule.init(shared)
    client_round(rule, state, shared, 0, 0.1, memory)
    for arrays in (state, memory, rule.broadcast(state)):
        assert all(isinstance(key, str) and isinstance(value, np.ndarray) for key, value in arrays.items())


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_description(name: str) -> None:
    fields = {key: field for key, field in rules[name].options.model_fields.items() if key != "name"}
    assert [key for key, field in fields.items() if not field.description] == []
    assert rules[name].summary
