"""Every objective trains under every rule that it fits, and is refused under every other before data loads."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from fedmetric.config import Experiment, parse_experiment
from fedmetric.config.compatibility import fits
from fedmetric.data.base import Dataset, ImageSet
from fedmetric.errors import ConfigError
from fedmetric.federation.memory import ClientState
from fedmetric.registry import objectives, rules
from fedmetric.training.local_update import place_weights
from fedmetric.training.site import Site
from oracles.federation import Federation

SMALL = {
    "hidden_dim": 8, "output_dim": 4, "predictor_dim": 4, "bottleneck_dim": 4, "queue_size": 8, "num_prototypes": 6,
    "clusters": 3, "memory_size": 8, "local_clusters": 2, "steps": 2,
}  # fmt: skip
PAIRS = [(objective, rule) for objective in objectives for rule in rules]
FITTING = [pair for pair in PAIRS if fits(objectives[pair[0]].options(), rules[pair[1]].options())]
OTHERS = [pair for pair in PAIRS if pair not in FITTING]


def small(registry: Any, name: str) -> dict[str, Any]:
    """Return the section of a method with small sizes; an objective made of parts has small parts."""
    known = registry[name].options.model_fields
    section = {"name": name} | {key: value for key, value in SMALL.items() if key in known}
    if "parts" in known:
        section["parts"] = [small(registry, part) for part in ("simclr", "supcon")]
    return section


def site_of(objective: str, rule: str, target: str = "default") -> Site:
    """Two clients of 12 random images each, two steps a round; a fourth class is there to be public."""
    wants_all = objectives[objective].traits.get("min_classes", 2) > 2  # then every batch has all three classes
    sampler = {"name": "balanced", "per_class": 2} if wants_all else {"name": "shuffled"}
    experiment = Experiment.model_validate(
        {
            "image_size": 16,
            "public_classes": 0.25 if rules[rule].traits.get("needs_public") else 0.0,
            "partition": {"name": "iid", "clients": 2},
            "model": {"name": "conv4", "width": 4},
            "objective": small(objectives, objective),
            "federation": {"rule": small(rules, rule), "rounds": 2, "target": target},
            "local": {"batch_size": 6, "sampler": sampler},
        }
    )
    classes = 4 if experiment.public_classes else 3
    pixels = np.random.default_rng(1).integers(0, 256, (8 * classes, 16, 16, 1), dtype=np.uint8)
    names = ("a", "b", "c", "d", "e")
    train = ImageSet("random", pixels, np.arange(8 * classes, dtype=np.int64) % classes, names)
    site = Site(experiment)
    site.__dict__["dataset"] = Dataset(train, ImageSet("random", pixels[:2], np.full(2, 4, np.int64), names))
    return site


def test_most_pairs_fit() -> None:
    """A contract over nothing would hold: every method is in some pair, and rules ask for groups on both sides."""
    assert {objective for objective, _ in FITTING} == set(objectives)
    assert {rule for _, rule in FITTING} == set(rules)
    assert ("byol", "fedu") in FITTING
    assert ("simclr", "fedu") in OTHERS
    assert ("orchestra", "fedavg") in OTHERS


@pytest.mark.parametrize(("objective", "rule"), FITTING)
def test_two_rounds_train_and_only_what_may_travel_does(objective: str, rule: str) -> None:
    site = site_of(objective, rule)
    site.check_clients()
    trainer, federation = site.trainer, Federation(site)
    layout = trainer.embedder.layout
    secret = set(layout.of(*layout.private)) | (set() if trainer.target == "aggregate" else set(layout.targets))
    start = trainer.embedder.arrays(list(layout.groups))
    for round in (1, 2):
        federation.run(round)
        for update in federation.updates:
            assert tuple(update.arrays) == trainer.routes.up
            assert not secret & (update.arrays.keys() | update.extra.keys())
            assert update.num_examples == 12
            assert np.isfinite(update.metrics["loss"])
    for arrays in (federation.shared, federation.state, *federation.memories.values()):
        assert all(np.isfinite(array).all() for array in arrays.values())
    own = federation.memories[0]
    assert int(own["last-round"]) == 2
    first = "backbone.block1.conv.weight"
    trained = federation.shared[first] if first in federation.shared else own[f"own.{first}"]
    assert not np.array_equal(trained, start[first])


@pytest.mark.parametrize("objective", [name for name, entry in objectives.items() if entry.traits.get("target_policy")])
@pytest.mark.parametrize("target", ["local", "reset", "aggregate"])
def test_a_target_travels_stays_or_is_made_anew_as_the_experiment_says(objective: str, target: str) -> None:
    """After a round: in the upload, in the client's state, or in neither; next round it starts where it should."""
    site = site_of(objective, objectives[objective].traits.get("rule", "fedavg"), target=target)
    federation = Federation(site)
    federation.run(1)
    targets = site.trainer.embedder.layout.targets
    kept = {name.removeprefix("own.") for name in federation.memories[0]}
    assert bool(targets & federation.updates[0].arrays.keys()) is (target == "aggregate")
    assert bool(targets & kept) is (target == "local")
    sent = {name: federation.shared[name] for name in site.trainer.routes.down}
    own = ClientState.from_arrays(federation.memories[0], 0)
    mine = dict(own.own)
    place_weights(site.trainer, sent, {}, own)
    network = site.trainer.embedder
    weight = network.objective.get_submodule("target").layers[0].get_parameter("block1.conv.weight").numpy()
    name = "objective.target.layers.0.block1.conv.weight"
    start = {"local": mine, "aggregate": sent, "reset": {name: sent["backbone.block1.conv.weight"]}}[target]
    np.testing.assert_array_equal(weight, start[name])


@pytest.mark.parametrize("norm", ["local", "group_norm", "pooled"])
@pytest.mark.parametrize("rule", ["fedu", "fedema", "fedbn", "scaffold", "fedper", "l-dawa"])
def test_rules_with_memory_go_with_every_norm_policy(rule: str, norm: str) -> None:
    """FedU's predictor has norm layers whose statistics stay at the client under the policy "local"."""
    site = site_of("byol", rule)
    experiment = site.experiment
    federation = experiment.federation.model_copy(update={"norm": norm})
    if rule == "fedu":
        federation = federation.model_copy(update={"rule": federation.rule.model_copy(update={"threshold": 0.0})})
    other = Site(experiment.model_copy(update={"federation": federation}))
    other.__dict__["dataset"] = site.dataset
    running = Federation(other)
    for round in (1, 2, 3):
        running.run(round)
    assert all(np.isfinite(array).all() for array in running.shared.values())


@pytest.mark.parametrize(("objective", "rule"), OTHERS)
def test_a_pair_that_does_not_fit_is_refused_with_what_to_change(objective: str, rule: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_experiment(f'objective = "{objective}"\nfederation.rule = "{rule}"', "mine.toml")
    text = str(caught.value)
    if only := re.search(r"works under federation.rule '([a-z0-9-]+)' only, not under '([a-z0-9-]+)'", text):
        assert only[2] == rule
        assert (objective, only[1]) in FITTING
    else:
        listed = re.search(r"choose another rule, or one of the objectives ([a-z0-9, -]+)$", text)
        assert listed, text
        assert f"objective '{objective}' has none" in text
        assert {(able, rule) for able in listed[1].split(", ")} <= set(FITTING)
