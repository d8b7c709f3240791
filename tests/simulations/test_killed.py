"""A run that is killed (SIGKILL) at any of eight points is resumed to the weights of an undisturbed run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import killer
import pytest

from tiny import tiny

TESTS = Path(__file__).parent.parent
KILLED_ROUND = 2
OVERRIDES = ("objective.name=byol", "objective.hidden_dim=16", "objective.output_dim=8", "checkpoint_every=1",
             "federation.rounds=3", "federation.rule=fedavgm", "evaluation.tasks=[\"retrieval\"]")  # fmt: skip


def fedmetric(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    places = [str(TESTS / "deployment" / "killed"), str(TESTS / "deployment"), str(TESTS)]
    path = os.pathsep.join([*places, os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, **more}
    command = [sys.executable, "-m", "fedmetric.cli.app", *words, "--workers", "1"]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("experiment") / "tiny.toml"
    place.write_text(tiny(*OVERRIDES).to_toml())
    return place


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, experiment: Path) -> Path:
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    done = fedmetric("run", str(experiment), "--out", str(out))
    assert done.returncode == 0, done.stderr
    return out


def rounds_of(run: Path) -> list[int]:
    lines = (run / "events.jsonl").read_text().splitlines()
    return [event["round"] for event in map(json.loads, lines) if event["event"] == "round"]


@pytest.mark.parametrize("point", killer.POINTS)
def test_a_killed_run_ends_with_the_weights_of_an_undisturbed_one(
    point: str, experiment: Path, undisturbed: Path, tmp_path: Path
) -> None:
    round = 3 if point == "before_the_summary" else KILLED_ROUND
    arms = {killer.POINT: point, killer.ROUND: str(round), killer.DONE: str(tmp_path / "killed")}
    run = tmp_path / "run"
    killed = fedmetric("run", str(experiment), "--out", str(run), **arms)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (run / "summary.json").exists()
    resumed = fedmetric("resume", str(run), **arms)
    assert resumed.returncode == 0, resumed.stderr
    wanted, found = (json.loads((place / "summary.json").read_text()) for place in (undisturbed, run))
    assert found["weights_sha256"] == wanted["weights_sha256"]
    assert found["evaluation"] == wanted["evaluation"]
    assert rounds_of(run) == [1, 2, 3]


PRIVATE = ("privacy=client-level", "privacy.noise=3.0", "federation.norm=group_norm", "partition.clients=3")


@pytest.mark.parametrize("point", ["after_aggregation", "after_the_rename"])
def test_a_private_run_that_is_killed_has_paid_for_every_noise_that_it_drew(point: str, tmp_path: Path) -> None:
    """Killed between noise and checkpoint, the round is charged twice; after it, once. Never less than was drawn."""
    from fedmetric.privacy.accounting import Charge, epsilon_of
    from fedmetric.privacy.ledger import Ledger

    place, run = tmp_path / "tiny.toml", tmp_path / "run"
    place.write_text(tiny(*OVERRIDES[3:], *PRIVATE).to_toml())
    arms = {killer.POINT: point, killer.ROUND: str(KILLED_ROUND), killer.DONE: str(tmp_path / "killed")}
    assert fedmetric("run", str(place), "--out", str(run), **arms).returncode == -signal.SIGKILL
    early = (run / "ledger.jsonl").read_bytes()
    resumed = fedmetric("resume", str(run), **arms)
    assert resumed.returncode == 0, resumed.stderr
    expected = [1, 2, 2, 3] if point == "after_aggregation" else [1, 2, 3]
    assert [entry.round for entry in Ledger(run / "ledger.jsonl").entries] == expected
    privacy = json.loads((run / "summary.json").read_text())["privacy"]
    assert privacy["epsilon"] == pytest.approx(epsilon_of([Charge(3.0, times=len(expected))], 1e-5))
    assert privacy["epsilon"] >= privacy["planned"]

    (run / "summary.json").unlink()
    (run / "ledger.jsonl").write_bytes(early.splitlines(keepends=True)[0])  # as of round 1; checkpoints are of round 3
    refused = fedmetric("resume", str(run))
    assert refused.returncode == 1
    assert "put back to an earlier state or replaced" in refused.stderr
