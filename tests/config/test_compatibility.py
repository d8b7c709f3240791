"""Which objectives and rules work together, and what is said where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmetric.config import parse_experiment
from fedmetric.config.compatibility import fits, groups_of, misfit
from fedmetric.errors import ConfigError
from fedmetric.models.embedder import build_embedder
from fedmetric.registry import Component, objectives, rules
from tiny import tiny


def objective(name: str, **options: object) -> Component:
    return objectives[name].options(**options)


def rule(name: str) -> Component:
    return rules[name].options()


@pytest.mark.parametrize("name", sorted(objectives))
def test_groups_read_from_files_are_those_of_the_network(name: str) -> None:
    """Told without importing torch, and the same that the built network has."""
    needs = objectives[name].traits.get("rule")
    experiment = tiny(f"objective.name={name}", *([f"federation.rule={needs}"] if needs else []))
    built = build_embedder(experiment, 1).layout.groups.values()
    assert set(groups_of(experiment.objective)) == set(built) - {"backbone"}


def test_a_learned_distance_is_a_group() -> None:
    assert groups_of(objective("triplet", distance="pair-mlp")) == ("distance",)
    assert groups_of(objective("triplet", distance={"name": "mahalanobis", "rank": 2})) == ("distance",)
    assert groups_of(objective("triplet")) == ()
    parts = ("simclr", {"name": "contrastive", "distance": "mahalanobis"})
    assert groups_of(objective("hybrid", parts=parts, weights=(1, 1))) == ("simclr.projector", "contrastive.distance")


def test_groups_of_parts_carry_the_name_of_their_part() -> None:
    hybrid = objective("hybrid", parts=("byol", {"name": "moco", "queue_size": 8}), weights=(1, 1))
    assert groups_of(hybrid) == (
        "byol.projector", "byol.predictor", "byol.target", "moco.projector", "moco.queue", "moco.target",
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(set(objectives) - {"orchestra"}))
def test_rules_that_ask_for_no_group_train_every_objective(name: str) -> None:
    assert fits(objective(name), rule("fedavg"))
    assert fits(objective(name), rule("scaffold"))


def test_a_rule_that_works_on_a_missing_group_names_it_and_the_objectives_that_have_it() -> None:
    text = misfit(objective("simclr"), rule("fedu"))
    assert "federation.rule 'fedu' works on the predictor of the objective, and objective 'simclr' has none" in text
    assert text.endswith("choose another rule, or one of the objectives byol, nnclr, simsiam")


def test_the_predictor_of_a_part_is_not_the_predictor_of_the_objective() -> None:
    """FedU moves the tensors of the group "predictor"; a hybrid has "byol.predictor"."""
    assert not fits(objective("hybrid", parts=("byol", "supcon")), rule("fedu"))


def test_an_objective_that_needs_one_rule_says_which() -> None:
    text = misfit(objective("orchestra"), rule("fedavg"))
    assert text == "objective 'orchestra' works under federation.rule 'orchestra' only, not under 'fedavg'"
    assert fits(objective("orchestra"), rule("orchestra"))
    assert "works on the centroids and memory of the objective" in misfit(objective("byol"), rule("orchestra"))


@pytest.mark.parametrize("target", ["local", "reset", "aggregate"])
def test_a_policy_for_a_target_needs_a_target(target: str) -> None:
    words = f"federation.target is '{target}', but objective 'simclr' has no target; leave it 'default'"
    assert misfit(objective("simclr"), rule("fedavg"), target) == words
    assert misfit(objective("byol"), rule("fedavg"), target) == ""
    assert misfit(objective("hybrid", parts=("byol", "supcon")), rule("fedavg"), target) == ""
    with pytest.raises(ConfigError, match=words):
        tiny(f"federation.target={target}")


def test_an_experiment_that_does_not_fit_is_refused_with_its_file() -> None:
    with pytest.raises(ConfigError, match=r"mine.toml: .*federation.rule 'fedema' works on the predictor"):
        parse_experiment('objective = "dino"\n[federation]\nrule = "fedema"', "mine.toml")


OUTSIDE = '''
from fedmetric.federation.base import FederationRule
from fedmetric.objectives.byol import BYOL

class Mine(BYOL):
    """A BYOL of one's own."""

class Choosy(FederationRule):
    """Needs a predictor."""

    requires = ("predictor",)
'''


def test_methods_from_outside_are_asked_too_with_what_they_inherit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside_methods.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    text = 'objective = "{}"\nfederation.rule = "{}"'
    found = parse_experiment(text.format("outside_methods:Mine", "fedu"))
    assert groups_of(found.objective) == ("projector", "predictor", "target")
    parse_experiment(text.format("byol", "outside_methods:Choosy"))
    with pytest.raises(ConfigError, match="federation.rule 'outside_methods:Choosy' works on the predictor"):
        parse_experiment(text.format("simclr", "outside_methods:Choosy"))
