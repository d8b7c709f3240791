"""The laws of the engine: one experiment gives the same bits, whoever carries the messages, however often it stops."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from command import in_a_process
from fedmetric.arrays import sha256_of
from fedmetric.errors import ConfigError, DataError, FedmetricError, Interrupted, UsageError
from fedmetric.simulations.launch import resume_run, start_run
from oracles.central import train_centrally
from tiny import tiny

RAY_SECONDS = 400
"""Ray's start-up hangs now and then on a loaded machine; the test must not."""


def ignore(event: Mapping[str, Any]) -> None:
    pass


def sha256(folder: Path, *overrides: str, workers: int = 1) -> str:
    return str(start_run(tiny("evaluation.every=0", *overrides), folder, ignore, workers=workers)["weights_sha256"])


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> str:
    return sha256(tmp_path_factory.mktemp("reference") / "run")


def test_two_workers_give_the_weights_of_one(reference: str, tmp_path: Path) -> None:
    assert sha256(tmp_path / "run", workers=2) == reference


def test_three_workers_and_a_cohort_give_the_weights_of_one(tmp_path: Path) -> None:
    cohort = ("partition.clients=7", "federation.clients_per_round=5")
    assert sha256(tmp_path / "three", *cohort, workers=3) == sha256(tmp_path / "one", *cohort)


def test_ray_gives_the_weights_of_the_local_engine(reference: str, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    (tmp_path / "tiny.toml").write_text(tiny("evaluation.every=0").to_toml())
    words = ("run", "tiny.toml", "--engine", "ray", "--workers", "2", "--out", "run", "--json")
    process = in_a_process(*words, cwd=tmp_path)
    try:
        out, err = process.communicate(timeout=RAY_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, err
    assert json.loads(out[out.index("{") :])["weights_sha256"] == reference


def test_the_second_run_is_the_first(reference: str, tmp_path: Path) -> None:
    assert sha256(tmp_path / "run") == reference


def test_another_seed_gives_other_weights(reference: str, tmp_path: Path) -> None:
    assert sha256(tmp_path / "run", "seed=2") != reference


@pytest.mark.parametrize("epochs", [1, 2])
def test_one_client_is_central_training_bit_for_bit(tmp_path: Path, epochs: int) -> None:
    one = ("partition.clients=1", f"local.epochs={epochs}")
    assert sha256(tmp_path / "run", *one) == sha256_of(train_centrally(tiny(*one)))


def test_fedprox_without_its_term_is_fedavg_bit_for_bit(reference: str, tmp_path: Path) -> None:
    assert sha256(tmp_path / "zero", "federation.rule.name=fedprox", "federation.rule.mu=0") == reference
    assert sha256(tmp_path / "one", "federation.rule.name=fedprox", "federation.rule.mu=1") != reference


class StopAfter:
    """Raise like a signal handler does, at the first event of a kind in a round."""

    def __init__(self, kind: str, round: int) -> None:
        self.kind, self.round = kind, round

    def __call__(self, event: Mapping[str, Any]) -> None:
        if event["event"] == self.kind and event.get("round") == self.round:
            self.kind = "never again"
            raise Interrupted(15)


@pytest.mark.parametrize(
    ("kind", "round"), [("start", 0), ("round", 1), ("evaluation", 2), ("checkpoint", 2), ("round", 3)]
)
def test_a_run_that_was_interrupted_anywhere_resumes_to_the_same_weights(tmp_path: Path, kind: str, round: int) -> None:
    experiment = tiny("federation.rounds=4", "checkpoint_every=2", "federation.clients_per_round=2")
    whole = start_run(experiment, tmp_path / "whole", ignore, workers=1)
    with pytest.raises(Interrupted, match="interrupted by signal 15"):
        start_run(experiment, tmp_path / "cut", StopAfter(kind, round), workers=1)
    resumed = resume_run(tmp_path / "cut", ignore, workers=1)
    assert resumed["weights_sha256"] == whole["weights_sha256"]
    assert resumed["evaluation"] == whole["evaluation"]
    rounds = [event["round"] for event in events(tmp_path / "cut") if event["event"] == "round"]
    assert rounds == [1, 2, 3, 4]


def test_a_run_resumes_from_the_checkpoint_before_a_damaged_one(tmp_path: Path) -> None:
    experiment = tiny("federation.rounds=3", "evaluation.every=0")
    whole = start_run(experiment, tmp_path / "whole", ignore, workers=1)
    with pytest.raises(Interrupted):
        start_run(experiment, tmp_path / "cut", StopAfter("round", 3), workers=1)
    newest = sorted((tmp_path / "cut" / "checkpoints").glob("round-*"))[-1] / "shared.safetensors"
    newest.write_bytes(newest.read_bytes()[:-7])
    assert resume_run(tmp_path / "cut", ignore, workers=1)["weights_sha256"] == whole["weights_sha256"]
    assert any(event["event"] == "warning" for event in events(tmp_path / "cut"))


def test_a_finished_run_is_not_resumed(tmp_path: Path) -> None:
    sha256(tmp_path / "run")
    with pytest.raises(UsageError, match="is done: 2 rounds.*nothing to resume"):
        resume_run(tmp_path / "run", ignore, workers=1)


def test_a_folder_that_is_taken_is_refused(tmp_path: Path) -> None:
    sha256(tmp_path / "run")
    with pytest.raises(UsageError, match="is not empty; continue it with 'fedmetric resume', or choose another --out"):
        sha256(tmp_path / "run")


def test_a_checkpoint_of_another_experiment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        start_run(tiny(), tmp_path / "run", StopAfter("checkpoint", 1), workers=1)
    (tmp_path / "run" / "experiment.toml").write_text(tiny("seed=9").to_toml())
    with pytest.raises(FedmetricError, match="the checkpoint was made by another experiment"):
        resume_run(tmp_path / "run", ignore, workers=1)


def test_a_run_killed_during_its_first_checkpoint_starts_again(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        start_run(tiny("evaluation.every=0"), tmp_path / "run", StopAfter("start", 0), workers=1)
    (tmp_path / "run" / "checkpoints" / ".writing-0001").mkdir(parents=True)
    resumed = resume_run(tmp_path / "run", ignore, workers=1)
    assert resumed["weights_sha256"] == sha256(tmp_path / "whole")


def test_a_checkpoint_of_other_classes_than_the_data_now_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        start_run(tiny(), tmp_path / "run", StopAfter("checkpoint", 1), workers=1)
    for meta in (tmp_path / "run" / "checkpoints").glob("*/meta.json"):
        meta.write_text(json.dumps({**json.loads(meta.read_text()), "class_hashes": ["0123456789abcdef"]}))
    with pytest.raises(DataError, match="the checkpoint was trained on other classes"):
        resume_run(tmp_path / "run", ignore, workers=1)


def test_the_summary_of_an_interrupted_run_is_gone_while_it_goes_on(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        start_run(tiny(), tmp_path / "run", StopAfter("checkpoint", 1), workers=1)
    assert (tmp_path / "run" / "summary.json").is_file()
    seen: list[bool] = []
    resume_run(tmp_path / "run", lambda event: seen.append((tmp_path / "run" / "summary.json").is_file()), workers=1)
    assert not any(seen[:-1])


def test_a_cohort_larger_than_the_federation_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    kinds: list[str] = []
    with pytest.raises(ConfigError, match="clients_per_round=9 but the partition has 3 clients"):
        start_run(
            tiny("federation.clients_per_round=9"),
            tmp_path / "run",
            lambda event: kinds.append(event["event"]),
            workers=1,
        )
    assert kinds == ["end"]


def events(folder: Path) -> list[dict[str, Any]]:
    from fedmetric.runs import RunFolder

    return RunFolder.open(folder).events()
