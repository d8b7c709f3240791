"""The experiment itself: frozen, hashed, and described without loading torch."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from fedmetric.config import Experiment, parse_experiment
from fedmetric.errors import ConfigError
from fedmetric.registry import REGISTRIES, objectives, views

CHANGES = [
    "seed=2", "image_size=32", "validation_classes=0.1", "checkpoint_every=1", "data=digits", "partition=iid",
    "views.rotation=1", "model.width=8", "objective.temperature=0.1", "federation.rule=fedprox", "federation.rounds=11",
    "federation.clients_per_round=3", "federation.max_lost=0.1", "local.epochs=2", "local.lr=0.1", "evaluation.every=1",
    'evaluation.few_shot=["5w1s"]', 'evaluation.tasks=["verification"]', "evaluation.rerank=alpha-qe",
    "evaluation.false_accepts=[0.05]",
]  # fmt: skip


def test_the_defaults_are_an_experiment() -> None:
    experiment = Experiment()
    assert (experiment.objective.name, experiment.federation.rule.name, experiment.model.name) == (
        "simclr",
        "fedavg",
        "conv4",
    )
    assert experiment.federation.clients_per_round == 0


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_a_result_changes_the_fingerprint(change: str) -> None:
    assert parse_experiment("", overrides=[change]).fingerprint() != Experiment().fingerprint()


def test_the_name_does_not_change_the_fingerprint() -> None:
    assert Experiment(name="a").fingerprint() == Experiment(name="b").fingerprint()
    assert len(Experiment().fingerprint()) == 64


def test_a_default_written_out_is_the_same_experiment() -> None:
    written = parse_experiment('seed = 1\nobjective = { name = "simclr", temperature = 0.5 }\n[local]\nlr = 1e-3')
    assert written.fingerprint() == Experiment().fingerprint()


def test_an_experiment_is_frozen_to_its_leaves() -> None:
    experiment = Experiment()
    for section, key in ((experiment, "seed"), (experiment.local, "lr"), (experiment.objective, "temperature")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, key, 3)


def test_a_rule_without_options_is_its_name() -> None:
    assert Experiment().resolved()["federation"]["rule"] == {"name": "fedavg"}


def test_an_experiment_survives_the_way_through_json() -> None:
    experiment = parse_experiment("", overrides=CHANGES)
    assert Experiment.model_validate_json(json.dumps(experiment.resolved())) == experiment


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_the_json_schema_holds_every_registered_name(registry: dict[str, object]) -> None:
    schema = json.dumps(Experiment.model_json_schema())
    missing = [name for name in registry if f'"const": "{name}"' not in schema]
    assert missing == []


def test_sections_take_a_name_a_table_or_a_component() -> None:
    by_name = Experiment(objective="simclr")  # type: ignore[arg-type]
    by_table = Experiment(objective={"temperature": 0.5})  # type: ignore[arg-type]
    by_component = Experiment(objective=objectives["simclr"].options())
    assert by_name == by_table == by_component == Experiment()
    assert Experiment(views=views["none"].options()).views.name == "none"


@pytest.mark.parametrize("text", ["5w1s", "20w5s", "2w1s"])
def test_episodes_are_ways_and_shots(text: str) -> None:
    assert parse_experiment(f'[evaluation]\nfew_shot = ["{text}"]').evaluation.few_shot == (text,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('tasks = ["verification", "verification"]', "tasks lists 'verification' twice"),
        ("false_accepts = [0.1, 0.1]", "false_accepts lists 0.1 twice"),
        ("false_accepts = [0.0]", "greater than 0"),
        ('tasks = ["identify"]', "'retrieval', 'fewshot'"),
        ("tasks = []", "at least 1"),
    ],
)
def test_what_cannot_be_measured_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_experiment(f"[evaluation]\n{text}")


def test_reading_an_experiment_loads_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from fedmetric.config import load_experiment; load_experiment('glyphs');"
        "print([m for m in ('torch', 'torchvision', 'flwr', 'sklearn', 'lightly', 'ray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("validation_folds = 3\nvalidation_classes = 0.2", "both keep classes back; set one of them to 0"),
        ("validation_folds = 1", "validation_fold = 0 of validation_folds = 1: there must be two folds or more"),
        ("validation_folds = 3\nvalidation_fold = 3", "validation_fold = 3 of validation_folds = 3"),
        ("validation_fold = 1", "validation_fold = 1 of validation_folds = 0"),
        ('[evaluation]\non = "validation"', "needs validation_classes above 0"),
    ],
)
def test_folds_that_cannot_be_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_experiment(text)
