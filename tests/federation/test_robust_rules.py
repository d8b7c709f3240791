"""What all robust rules owe: one client is itself, nobody's place matters, attackers are borne, NaN is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.errors import ProtocolError
from fedmetric.federation.base import FederationRule, RuleContext, Update
from fedmetric.layout import Layout
from fedmetric.registry import rules

LAYOUT = Layout(dict.fromkeys(("w", "b", "mean", "var", "n"), "backbone"), frozenset({"w", "b"}))
FLOATS = ("w", "b", "mean", "var")
CLIENTS, ATTACKERS = 11, 2
BEARING: dict[str, dict[str, Any]] = {
    "trimmed-mean": {"trim": 0.19}, "median": {}, "krum": {"malicious": 2, "selected": 5}, "bulyan": {"malicious": 2},
}  # fmt: skip
NAMES = ("norm-clipping", *BEARING)


def build(name: str, **options: Any) -> FederationRule:
    rule = rules.build(rules[name].options(**options), RuleContext(LAYOUT, num_clients=CLIENTS))
    assert isinstance(rule, FederationRule)
    return rule


def weights(rng: np.random.Generator, scale: float = 1.0) -> Arrays:
    found: Arrays = {name: (scale * rng.normal(size=(3, 4))).astype(np.float32) for name in FLOATS}
    return found | {"var": np.abs(found["var"]), "n": np.array(rng.integers(1, 9))}


def a_round(seed: int, attackers: int = 0, scale: float = 1e6) -> list[Update]:
    """Return 11 clients, of which attackers at random places claim a million images."""
    rng = np.random.default_rng(seed)
    made = [(weights(rng), int(rng.integers(1, 99))) for _ in range(CLIENTS - attackers)]
    for _ in range(attackers):
        made.insert(int(rng.integers(len(made) + 1)), (weights(rng, scale), 10**6))
    return [Update(client, arrays, images) for client, (arrays, images) in enumerate(made)]


def result(rule: FederationRule, updates: list[Update], shared: Arrays | None = None) -> Arrays:
    return rule.aggregate({}, shared or {name: array * 0 for name, array in updates[0].arrays.items()}, updates)[1]


def same(first: Arrays, second: Arrays) -> bool:
    return first.keys() == second.keys() and all(first[name].tobytes() == second[name].tobytes() for name in first)


def within(found: Arrays, honest: list[Update]) -> bool:
    rows = {name: np.stack([update.arrays[name] for update in honest]) for name in FLOATS}
    return all(
        ((found[name] >= values.min(axis=0)) & (found[name] <= values.max(axis=0))).all()
        for name, values in rows.items()
    )


@pytest.mark.parametrize("name", NAMES)
def test_one_honest_client_is_the_result_bit_for_bit(name: str) -> None:
    for update in a_round(1):
        arrays = update.arrays | {"b": np.array([-0.0, 0.0, 1e-38], np.float32)}
        assert same(result(build(name), [Update(update.client, arrays, update.num_examples)]), arrays)


@pytest.mark.parametrize("name", NAMES)
def test_updates_that_are_all_the_same_are_the_result(name: str) -> None:
    """Among them a move of 0, whose norm and distances are 0: nothing is divided by them."""
    (first, *_) = a_round(2)
    updates = [Update(client, first.arrays, 1 + client) for client in range(CLIENTS)]
    with np.errstate(all="raise"):
        for shared in (None, first.arrays):
            found = result(build(name, **BEARING.get(name, {"max_norm": 1e3})), updates, shared)
            assert all(np.allclose(found[key], first.arrays[key], rtol=1e-7, atol=0) for key in found)


@pytest.mark.parametrize("name", BEARING)
def test_the_order_in_which_updates_come_changes_no_bit(name: str) -> None:
    rule, updates = build(name, **BEARING[name]), a_round(3)
    wanted = result(rule, updates)
    for seed in range(20):
        places = np.random.default_rng(seed).permutation(len(updates))
        assert same(result(rule, [updates[place] for place in places]), wanted)


@pytest.mark.parametrize("name", NAMES)
def test_it_does_not_matter_which_client_is_which(name: str) -> None:
    """Indices break ties only."""
    rule, updates = build(name, **BEARING.get(name, {"max_norm": 3.0})), a_round(4)
    wanted = result(rule, updates)
    for seed in range(20):
        places = np.random.default_rng(seed).permutation(len(updates)).tolist()
        dealt = [Update(place, u.arrays, u.num_examples) for place, u in zip(places, updates, strict=True)]
        found = result(rule, dealt)
        assert all(np.allclose(found[key], wanted[key], rtol=1e-6, atol=1e-7) for key in found)


@pytest.mark.parametrize("name", BEARING)
@pytest.mark.parametrize("scale", [1e6, -1e6, 1e30])
def test_with_attackers_the_result_stays_within_the_range_of_the_honest(name: str, scale: float) -> None:
    for seed in range(10):
        updates = a_round(seed, ATTACKERS, scale)
        honest = [update for update in updates if update.num_examples < 10**6]
        assert within(result(build(name, **BEARING[name]), updates), honest)


@pytest.mark.parametrize("name", BEARING)
def test_attackers_who_send_the_same_are_borne_too(name: str) -> None:
    """Their distance to one another is 0."""
    for seed in range(10):
        updates = a_round(seed, ATTACKERS)
        attack = weights(np.random.default_rng(seed), 1e6)
        colluding = [Update(u.client, attack if u.num_examples == 10**6 else u.arrays, 1) for u in updates]
        honest = [update for update in updates if update.num_examples < 10**6]
        assert within(result(build(name, **BEARING[name]), colluding), honest)


def test_the_mean_does_not_bear_them() -> None:
    """Nor do rules that are told of fewer attackers than there are: the tests above can fail."""
    updates = a_round(5, ATTACKERS)
    honest = [update for update in updates if update.num_examples < 10**6]
    for name, options in (("fedavg", {}), ("trimmed-mean", {"trim": 0.1}), ("bulyan", {"malicious": 0})):
        assert not within(result(build(name, **options), updates), honest)


@pytest.mark.parametrize("name", BEARING)
def test_what_a_client_says_of_its_images_changes_nothing(name: str) -> None:
    rule, updates = build(name, **BEARING[name]), a_round(6)
    liars = [Update(update.client, update.arrays, 10 ** (update.client + 1)) for update in updates]
    assert same(result(rule, liars), result(rule, updates))
    assert {rule.weight(update) for update in liars} == {1.0}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_an_update_that_is_not_finite_is_refused_and_the_round_goes_on_without_it(name: str, wrong: float) -> None:
    rule, updates = build(name), a_round(7)
    shared = {key: array * 0 for key, array in updates[0].arrays.items()}
    poisoned = updates[4].arrays["mean"].copy()
    poisoned[1, 2] = wrong
    total = rule.begin(shared, {})
    for update in updates:
        if update.client == 4:
            with pytest.raises(ProtocolError, match="client 4 sent mean with 1 values that are not finite"):
                rule.fold(total, Update(4, {**update.arrays, "mean": poisoned}, update.num_examples))
        else:
            rule.fold(total, update)
    assert same(rule.finish({}, shared, total)[1], result(rule, updates[:4] + updates[5:]))


@pytest.mark.parametrize("name", NAMES)
def test_results_have_the_types_of_the_weights_and_counters_take_the_largest(name: str) -> None:
    updates = a_round(8)
    half = [
        Update(u.client, {key: a.astype(np.float16) if key in FLOATS else a for key, a in u.arrays.items()}, 1)
        for u in updates
    ]
    for given, dtype in ((updates, np.float32), (half, np.float16)):
        found = result(build(name, **({"selected": 99} if name == "krum" else {})), given)
        assert {found[key].dtype for key in FLOATS} == {np.dtype(dtype)}
        assert found["n"] == max(int(update.arrays["n"]) for update in given)
