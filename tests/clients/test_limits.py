"""A site's terms: what may be asked of it, what may leave it, and what a refusal says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedmetric.clients.limits import METRICS, LimitError, Limits, manifest_of
from fedmetric.config import parse_experiment
from fedmetric.errors import UsageError
from fedmetric.federation.base import Update
from fedmetric.training.local_update import Trainer
from fedmetric.training.site import Site
from tiny import tiny


@pytest.fixture(scope="module")
def trainer() -> Trainer:
    return Site(tiny()).trainer


def update_of(trainer: Trainer, **changes: Any) -> Update:
    """Return an update as training would give it, with changes."""
    arrays = trainer.embedder.arrays(trainer.routes.up)
    return replace(Update(0, arrays, 30, {}, {"loss": 0.5, "steps": 3.0}), **changes)


def test_a_table_of_limits_is_read_and_what_it_leaves_out_keeps_its_default() -> None:
    table = {"epochs": 3, "groups": ["backbone"], "rules": ["scaffold"], "external": ["mine:Rule"]}
    assert Limits.read(table) == Limits(epochs=3, groups=("backbone",), rules=("scaffold",), external=("mine:Rule",))
    assert Limits.read({}) == Limits()


def test_an_unknown_limit_names_the_nearest_and_all_known() -> None:
    with pytest.raises(UsageError, match=r"limits\.epoch is unknown; did you mean 'epochs'\?; known: epochs, rounds"):
        Limits.read({"epoch": 3})


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "3", [3], {}])
@pytest.mark.parametrize("key", ["epochs", "rounds", "batch_size", "image_size", "parameters"])
def test_a_limit_that_is_no_number_above_0_is_refused(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"limits\.{key} = .* must be a whole number above 0"):
        Limits.read({key: value})


@pytest.mark.parametrize("value", ["backbone", 3, ["backbone", 3], {"backbone": True}])
@pytest.mark.parametrize("key", ["groups", "rules", "external"])
def test_a_limit_that_is_no_list_of_names_is_refused(key: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"limits\.{key} = .* must be a list of names"):
        Limits.read({key: value})


@pytest.mark.parametrize(
    ("override", "limit", "allowed"),
    [
        ("local.epochs", "epochs", 50),
        ("federation.rounds", "rounds", 10_000),
        ("local.batch_size", "batch_size", 1024),
        ("image_size", "image_size", 256),
    ],
)
def test_a_request_may_ask_for_what_is_allowed_and_not_for_one_more(override: str, limit: str, allowed: int) -> None:
    assert getattr(Limits(), limit) == allowed
    Limits().check_request(parse_experiment("", "x", [f"{override}={allowed}"]))
    with pytest.raises(LimitError, match=rf"{override} = {allowed + 1} is asked, this site allows {allowed}"):
        Limits().check_request(parse_experiment("", "x", [f"{override}={allowed + 1}"]))
    with pytest.raises(LimitError, match=rf"{override} = {allowed} is asked, this site allows {allowed - 1}"):
        Limits(**{limit: allowed - 1}).check_request(parse_experiment("", "x", [f"{override}={allowed}"]))


def test_a_part_of_the_network_that_is_not_to_leave_is_named(trainer: Trainer) -> None:
    Limits().check_trainer(trainer)
    with pytest.raises(LimitError, match=r"the parts \['projector'\] would leave this site, which allows \['backbone'"):
        Limits(groups=("backbone",)).check_trainer(trainer)


def test_a_momentum_target_does_not_leave_unless_the_site_allows_it() -> None:
    shared = Site(tiny("objective.name=byol", "federation.target=aggregate")).trainer
    with pytest.raises(LimitError, match=r"the parts \['target'\] would leave this site"):
        Limits().check_trainer(shared)
    Limits(groups=(*Limits().groups, "target")).check_trainer(shared)
    Limits().check_trainer(Site(tiny("objective.name=byol")).trainer)


def test_a_network_that_is_too_large_is_refused_with_both_numbers(trainer: Trainer) -> None:
    network = trainer.embedder
    count = sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
    Limits(parameters=count).check_size(trainer.experiment, 1)
    with pytest.raises(LimitError, match=rf"the network has {count:,} parameters, this site allows {count - 1:,}"):
        Limits(parameters=count - 1).check_size(trainer.experiment, 1)


@pytest.mark.parametrize(
    "overrides", [("model.width=100000000",), ("objective={name='moco', queue_size=100000000000}",)]
)
def test_a_network_that_would_fill_the_memory_is_refused_without_being_built(overrides: tuple[str, ...]) -> None:
    with pytest.raises(LimitError, match="the network has .* parameters, this site allows 100,000,000"):
        Limits().check_size(tiny(*overrides), 1)


def test_what_is_within_the_limits_leaves_as_it_is(trainer: Trainer) -> None:
    update = update_of(trainer)
    assert Limits().outgoing(update, trainer) == update


def test_metrics_that_are_not_known_stay_at_the_site(trainer: Trainer) -> None:
    metrics = {"loss": 1.0, "class:secret": 2.0, "images": 3.0}
    assert Limits().outgoing(update_of(trainer, metrics=metrics), trainer).metrics == {"loss": 1.0, "images": 3.0}
    assert not [name for name in METRICS if "class" in name]


def test_arrays_that_were_not_announced_do_not_leave(trainer: Trainer) -> None:
    update = update_of(trainer)
    more = {**update.arrays, "queue": np.zeros(3), "another": np.zeros(1)}
    with pytest.raises(LimitError, match=r"2 arrays would leave that are no part of what is shared: \['another', 'que"):
        Limits().outgoing(replace(update, arrays=more), trainer)


def test_arrays_beside_the_weights_leave_only_under_a_rule_that_is_allowed(trainer: Trainer) -> None:
    update = update_of(trainer, extra={"variate": np.ones(3)})
    with pytest.raises(LimitError, match=r"rule 'fedavg' sends more than weights; this site allows that to \['scaffo"):
        Limits(rules=("scaffold",)).outgoing(update, trainer)
    assert Limits(rules=("fedavg",)).outgoing(update, trainer) == update


def test_a_manifest_lists_everything_that_leaves() -> None:
    arrays = {"w": np.array([[3.0, 4.0]], np.float32), "n": np.array(7)}
    rows = manifest_of(Update(0, arrays, 30, {"variate": np.zeros(2, np.float64)}, {"loss": 0.5}))
    assert [(row["kind"], row["name"], row["shape"], row["dtype"], row["bytes"]) for row in rows] == [
        ("weights", "w", [1, 2], "float32", 8),
        ("weights", "n", [], "int64", 8),
        ("beside the weights", "variate", [2], "float64", 16),
        ("metric", "num-examples", [], "int", 8),
        ("metric", "loss", [], "float", 8),
    ]
    assert [row.get("norm") for row in rows] == [5.0, None, 0.0, None, None]


def test_under_secure_aggregation_the_masked_vector_leaves_and_no_weights_do() -> None:
    hidden = Site(tiny("partition.clients=4", "federation.norm=group_norm", "federation.secure.on=true")).trainer
    update = Update(0, {"masked": np.zeros(9, np.uint32)}, 1)
    assert Limits().outgoing(update, hidden) == update
    with pytest.raises(LimitError, match="arrays would leave that are no part of what is shared"):
        Limits().outgoing(update_of(hidden), hidden)


def test_without_secure_aggregation_a_masked_vector_does_not_leave(trainer: Trainer) -> None:
    with pytest.raises(LimitError, match=r"1 arrays would leave .*\['masked'\]"):
        Limits().outgoing(Update(0, {"masked": np.zeros(9, np.uint32)}, 1), trainer)
