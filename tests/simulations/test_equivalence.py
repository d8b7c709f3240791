"""The laws of the engine: one experiment gives the same bits, whoever carries the messages, however often it stops."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from command import in_a_process
from fedmetric.arrays import Arrays, sha256_of
from fedmetric.clients import premises
from fedmetric.errors import ConfigError, DataError, FedmetricError, Interrupted, UsageError
from fedmetric.evaluation.base import Scores
from fedmetric.runs import RunFolder
from fedmetric.server import loop as server_loop
from fedmetric.server.checkpoints import latest_checkpoint
from fedmetric.server.loop import serve
from fedmetric.simulations.launch import resume_run, start_run
from fedmetric.training.site import Site
from oracles.central import train_centrally
from oracles.federation import Federation
from tiny import tiny

RAY_SECONDS = 400
"""Ray's start-up hangs now and then on a loaded machine; the test must not."""


def ignore(event: Mapping[str, Any]) -> None:
    pass


def sha256(folder: Path, *overrides: str, workers: int = 1) -> str:
    return str(start_run(tiny("evaluation.every=0", *overrides), folder, ignore, workers=workers)["weights_sha256"])


def small(objective: str, **options: object) -> tuple[str, ...]:
    """Return the overrides that choose an objective with small heads."""
    sizes = {"hidden_dim": 16, "output_dim": 8, **options}
    return (f"objective.name={objective}", *(f"objective.{key}={value}" for key, value in sizes.items()))


def proxies(objective: str) -> tuple[str, ...]:
    """Return the overrides that choose a loss with proxies, and classes that no two clients have."""
    disjoint = 'partition={name="classes-per-client", clients=3, classes=2}'
    return (f'objective={{name="{objective}"}}', disjoint)


def rule(name: str, **options: object) -> tuple[str, ...]:
    """Return the overrides that choose a rule."""
    return (f"federation.rule.name={name}", *(f"federation.rule.{key}={value}" for key, value in options.items()))


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


@pytest.mark.parametrize(("objective", "epochs"), [("simclr", 1), ("simclr", 2), ("byol", 1), ("dino", 2), ("tico", 1)])
def test_one_client_is_central_training_bit_for_bit(tmp_path: Path, objective: str, epochs: int) -> None:
    one = ("partition.clients=1", f"local.epochs={epochs}", *small(objective))
    assert sha256(tmp_path / "run", *one) == sha256_of(train_centrally(tiny(*one)))


def test_one_client_is_central_training_under_every_rule_that_adds_nothing_to_one_client(tmp_path: Path) -> None:
    one = ("partition.clients=1", *small("byol"))
    wanted = sha256_of(train_centrally(tiny(*one)))
    for name in ("fedema", "fedbn"):
        assert sha256(tmp_path / name, *one, *rule(name)) == wanted


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory, reference: str) -> dict[str, str]:
    """FedAvg's weights after two rounds by objective, and after one round."""
    folder = tmp_path_factory.mktemp("references")
    return {
        "simclr": reference,
        "byol": sha256(folder / "byol", *small("byol")),
        "proxy-nca": sha256(folder / "proxies", *proxies("proxy-nca")),
        "one round": sha256(folder / "one", "federation.rounds=1"),
    }


REDUCTIONS = [
    ("simclr", rule("fedprox", mu=0), rule("fedprox", mu=1)),
    ("simclr", rule("fedavgm", momentum=0, lr=1), rule("fedavgm", momentum=0.5, lr=1)),
    ("simclr", rule("feddecorr", weight=0), rule("feddecorr", weight=1)),
    ("byol", rule("fedx", weight=0), rule("fedx", weight=1)),
    ("byol", rule("fedema", tau=0), rule("fedema", tau=0.7)),
    ("byol", rule("fedema", tau=0, divergence="local_drift"), rule("fedema", tau=0.7, divergence="local_drift")),
    ("byol", rule("fedu", threshold="1e9"), rule("fedu", threshold=0)),
    ("proxy-nca", rule("fedaws", steps=0), rule("fedaws", steps=20)),
    ("proxy-nca", rule("fedgc", steps=0), rule("fedgc", steps=1)),
]


@pytest.mark.parametrize(("objective", "neutral", "other"), REDUCTIONS, ids=lambda value: "-".join(value[1:]) or None)
def test_a_rule_whose_own_part_is_switched_off_is_fedavg_bit_for_bit(
    references: dict[str, str], tmp_path: Path, objective: str, neutral: tuple[str, ...], other: tuple[str, ...]
) -> None:
    chosen = proxies(objective) if objective == "proxy-nca" else small(objective)
    assert sha256(tmp_path / "neutral", *chosen, *neutral) == references[objective]
    assert sha256(tmp_path / "other", *chosen, *other) != references[objective]


def test_sharing_the_proxies_of_classes_that_one_client_holds_is_keeping_them(
    references: dict[str, str], tmp_path: Path
) -> None:
    shared = rule("shared-proxies")
    assert sha256(tmp_path / "one owner", *proxies("proxy-nca"), *shared) == references["proxy-nca"]
    kept, averaged = (
        sha256(tmp_path / name, 'objective={name="proxy-nca"}', *how) for name, how in (("kept", ()), ("all", shared))
    )
    assert kept != averaged


def test_scaffold_is_fedavg_in_its_first_round_and_not_in_its_second(
    references: dict[str, str], tmp_path: Path
) -> None:
    """Every control variate is 0 before the first round ends."""
    assert sha256(tmp_path / "one", "federation.rounds=1", *rule("scaffold")) == references["one round"]
    assert sha256(tmp_path / "two", *rule("scaffold")) != references["simclr"]


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
    kept = sorted(path.name for path in (tmp_path / "cut" / "checkpoints").glob("round-*"))
    told = json.loads((tmp_path / "cut" / "summary.json").read_text())["rounds"]
    assert kept[-1:] == ([f"round-{told:04d}"] if told else [])
    resumed = resume_run(tmp_path / "cut", ignore, workers=1)
    assert resumed["weights_sha256"] == whole["weights_sha256"]
    assert resumed["evaluation"] == whole["evaluation"]
    rounds = [event["round"] for event in events(tmp_path / "cut") if event["event"] == "round"]
    assert rounds == [1, 2, 3, 4]


BYOL = small("byol")
STATEFUL = {
    "byol": BYOL,
    "byol, target aggregated": (*BYOL, "federation.target=aggregate"),
    "moco": small("moco", queue_size=32),
    "nnclr": small("nnclr", queue_size=32),
    "dino": small("dino", bottleneck_dim=4),
    "tico": small("tico"),
    "swav": small("swav", num_prototypes=8),
    "byol, fedema": (*BYOL, *rule("fedema")),
    "byol, fedu": (*BYOL, *rule("fedu", threshold=0)),
    "scaffold": rule("scaffold"),
    "fedavgm": rule("fedavgm"),
    "fedadam": rule("fedadam"),
    "orchestra": (*small("orchestra", clusters=4, memory_size=32), *rule("orchestra", local_clusters=4)),
    "fedbn": rule("fedbn"),
    "fedper": rule("fedper"),
    "solo": rule("solo"),
    "flesd": (*rule("flesd", steps=2, batch_size=32), "public_classes=0.2"),
    "proxies": proxies("proxy-nca"),
    "proxies, spread out": (*proxies("positive-cosine"), *rule("fedaws")),
    "proxies, shared": ('objective={name="arcface"}', *rule("shared-proxies")),
    "codewords": proxies("feduv"),
    "stages": (
        'objective={name="hybrid", parts=["simclr", "proxy-anchor"], '
        "stages=[{rounds=2, weights=[1, 0]}, {rounds=2, weights=[0.5, 1]}]}",
        "labelled_clients=0.5",
    ),
    "moments kept": ("local.optimiser_state=local",),
    "local statistics": ("federation.norm=local",),
    "recalibrated": ("federation.norm=recalibrate",),
}
BRIEF = ("federation.rounds=4", "federation.clients_per_round=2", "local.batch_size=128", "evaluation.every=0")


class Blind:
    """A judge that measures nothing, which takes most of the time of a tiny run."""

    untrained: ClassVar[dict[str, float]] = {}
    baselines: ClassVar[dict[str, Scores]] = {}
    class_hashes = ()

    def __init__(self, site: Site) -> None:
        self.site = site

    def inspect(self, shared: Arrays) -> dict[str, float]:
        return {}

    def measure(self, shared: Arrays, full: bool) -> tuple[Scores, Scores]:
        return {}, {}

    def measure_clients(self, memories: Mapping[int, Arrays], full: bool) -> dict[int, Scores]:
        return {client: {} for client in memories}


def everything(folder: Path) -> dict[str, str]:
    """Hash what the last checkpoint holds: weights, the rule's state, every client's own state."""
    checkpoint, problems = latest_checkpoint(folder / "checkpoints")
    assert problems == []
    assert checkpoint.round == 4
    clients = {f"client {client}": sha256_of(memory) for client, memory in checkpoint.memories.items()}
    return {"weights": sha256_of(checkpoint.shared), "server": sha256_of(checkpoint.state), **clients}


@pytest.mark.parametrize("what", STATEFUL)
def test_a_run_that_stopped_half_way_ends_with_the_weights_and_the_state_of_one_that_did_not(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rounds, a stop, two rounds; the client's network is built anew, as in another process. Two clients of three
    take part in a round, so that some client goes on from before the stop."""
    monkeypatch.setattr(server_loop, "Judge", Blind)
    experiment = tiny(*BRIEF, *STATEFUL[what])
    whole = start_run(experiment, tmp_path / "whole", ignore, workers=1)
    with pytest.raises(Interrupted):
        start_run(experiment, tmp_path / "cut", StopAfter("checkpoint", 2), workers=1)
    premises._whole.cache_clear()
    resumed = resume_run(tmp_path / "cut", ignore, workers=1)
    assert resumed["weights_sha256"] == whole["weights_sha256"]
    assert everything(tmp_path / "cut") == everything(tmp_path / "whole")


@pytest.mark.parametrize("what", ["byol, fedema", "recalibrated"])
def test_two_workers_give_the_weights_and_the_state_of_one(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which worker serves a client changes from round to round; what the client keeps must follow it."""
    monkeypatch.setattr(server_loop, "Judge", Blind)
    for workers in (1, 2):
        start_run(tiny(*BRIEF, *STATEFUL[what]), tmp_path / str(workers), ignore, workers=workers)
    assert everything(tmp_path / "1") == everything(tmp_path / "2")


@pytest.mark.parametrize("what", ["byol, fedema", "scaffold", "fedavgm", "orchestra", "solo", "moments kept"])
def test_messages_workers_and_checkpoints_add_nothing_to_two_loops(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, server state and every client's state are those of loops over rounds and clients."""
    monkeypatch.setattr(server_loop, "Judge", Blind)
    experiment = tiny(*BRIEF, "federation.clients_per_round=0", *STATEFUL[what])
    start_run(experiment, tmp_path / "run", ignore, workers=1)
    loops = Federation(Site(experiment))
    for round in range(1, 5):
        loops.run(round)
    clients = {f"client {client}": sha256_of(memory) for client, memory in loops.memories.items()}
    wanted = {"weights": sha256_of(loops.shared), "server": sha256_of(loops.state), **clients}
    assert everything(tmp_path / "run") == wanted


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


def test_client_state_that_an_engine_does_not_keep_is_not_resumed_there(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        start_run(tiny("objective=byol"), tmp_path / "run", StopAfter("checkpoint", 1), workers=1)
    start, _ = latest_checkpoint(tmp_path / "run" / "checkpoints")
    site = Site(tiny("objective=byol"))
    with pytest.raises(ConfigError, match="resume with --engine local a run that --engine local began"):
        serve(lambda: None, site, RunFolder.open(tmp_path / "run"), ignore, start)  # type: ignore[arg-type]
