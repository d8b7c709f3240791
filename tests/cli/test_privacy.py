"""`fedmetric privacy`: what left, what it would cost, what attacks find, and all of it on one page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command import Command
from fedmetric.cli import privacy_commands
from fedmetric.errors import ConfigError
from fedmetric.privacy.accounting import Charge, epsilon_of
from fedmetric.runs import RunFolder
from tiny import tiny

SMALL = (
    "evaluation.every=0", "evaluation.tasks=['retrieval']", "federation.norm=group_norm", "federation.rounds=2",
    "local.batch_size=64",
)  # fmt: skip
PRIVATE = (*SMALL, "privacy=client-level", "privacy.noise=3.0")


def written(folder: Path, *overrides: str) -> str:
    place = folder / "tiny.toml"
    place.write_text(tiny(*overrides).to_toml())
    return str(place)


@pytest.fixture
def run(command: Command, tmp_path: Path) -> Path:
    answer = command("run", written(tmp_path, *PRIVATE), "--out", str(tmp_path / "run"), "--workers", "1")
    assert answer.code == 0, answer.err
    spent = epsilon_of([Charge(3.0, times=2)], 1e-5)
    assert f"privacy: ({spent:.3g}, 1e-05)-differential, unit client" in answer.out
    assert "planned over all rounds" in answer.err
    assert "loss" not in answer.err
    assert "times the clip norm drowns every step; see 'fedmetric privacy plan'" in answer.err
    return tmp_path / "run"


def test_a_report_adds_up_what_left_and_what_it_cost(command: Command, run: Path) -> None:
    found = json.loads(command("privacy", "report", str(run), "--json").out)
    left = found["left"]
    assert (left["updates"], left["clients"], left["rounds"]) == (6, 3, 2)
    (kind,) = left["kinds"]
    names = [row["name"] for row in kind["rows"] if row["kind"] == "weights"]
    from fedmetric.training.site import Site

    assert names == list(Site(tiny(*PRIVATE)).trainer.routes.up)
    assert [row["name"] for row in kind["rows"] if row["kind"] == "metric"] == ["num-examples"]
    assert kind["covered"] == "nothing yet: the server clips it and adds noise to the mean"
    assert left["bytes"] == 6 * sum(row["bytes"] for row in kind["rows"])
    assert found["privacy"]["charges"] == 2
    text = command("privacy", "report", str(run)).out
    assert "in all 6 updates of 3 clients" in text
    assert "adversary: whoever sees the weights of every round; the server is trusted" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_report_of_a_run_that_claims_nothing_says_so(command: Command, tmp_path: Path) -> None:
    command("run", written(tmp_path, *SMALL), "--out", str(tmp_path / "run"), "--workers", "1")
    text = command("privacy", "report", str(tmp_path / "run")).out
    assert "privacy: nothing is claimed but that images stay where they are" in text
    assert "updates of 3 clients, as they are" in text
    RunFolder.create(tmp_path / "empty", tiny(*SMALL))
    answer = command("privacy", "report", str(tmp_path / "empty"))
    assert (answer.code, "has no manifest: nothing has left a client yet" in answer.err) == (1, True)


def test_a_plan_refuses_noise_that_drowns_everything_and_says_what_would_help(command: Command, tmp_path: Path) -> None:
    answer = command("privacy", "plan", written(tmp_path, *PRIVATE))
    assert answer.code == 1
    assert "unusable" in answer.out
    assert "clients in a round in place of 3 would bring it to 1" in answer.out
    assert "freezing backbone.block1 leaves" in answer.out
    fine = command("privacy", "plan", written(tmp_path, *PRIVATE), "--set", "privacy.population=100000", "--json")
    assert fine.code == 0
    found = json.loads(fine.out)
    assert found["verdict"] == "fine"
    assert found["guarantee"]["label"].startswith("extrapolated: to 100,000 clients")


def test_a_plan_solves_for_the_noise_of_an_epsilon(command: Command, tmp_path: Path) -> None:
    words = ("privacy", "plan", written(tmp_path, *PRIVATE), "--target-epsilon", "2", "--json")
    found = json.loads(command(*words).out)
    assert found["epsilons"]["2"] == pytest.approx(2.0, rel=0.005)
    assert epsilon_of([Charge(found["noise"], times=2)], 1e-5) == pytest.approx(2.0, rel=0.005)


def test_a_plan_of_nothing_is_refused(command: Command, tmp_path: Path) -> None:
    answer = command("privacy", "plan", written(tmp_path, *SMALL))
    assert answer.code == ConfigError("").exit_code
    assert "the experiment claims no privacy: set privacy.name" in answer.err


def test_a_study_is_resumed_and_draws_one_page(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five settings of a tiny federation; the attack is shortened, so its figures are not looked at."""
    from fedmetric.simulations.audits import membership

    for name, value in (("PASSES", 2), ("SHADOW_PASSES", 1)):
        monkeypatch.setattr(membership, name, value)
    out = tmp_path / "study"
    small = (*SMALL, "objective=arcface", "federation.rounds=1")
    words = (
        "privacy", "study", written(tmp_path, *small), "--out", str(out), "--noise", "3", "--jobs", "1",
    )  # fmt: skip
    answer = command(*words, "--json")
    assert answer.code == 0, answer.err
    rows = {row["setting"]: row for row in json.loads(answer.out)}
    assert list(rows) == ["none", "clip only", "z=3", "record-level z=1", "secure aggregation"]
    assert all(row["runs"] == 1 and row["recall@1"] > 0 and row["bytes_up"] > 0 for row in rows.values())
    assert rows["none"]["unit"] is None
    assert rows["secure aggregation"]["unit"] is None
    assert rows["clip only"]["label"] == "NOT PRIVATE: no noise"
    assert rows["z=3"]["epsilon"] == pytest.approx(epsilon_of([Charge(3.0)], 1e-5))
    assert rows["record-level z=1"]["unit"] == "record"
    assert (out / "frontier.png").read_bytes()[:4] == b"\x89PNG"
    again = command(*words)
    assert "5 cells, 0 to run" in again.err
    assert "attacking" not in again.err
    assert again.out.splitlines()[0].startswith("| setting | Recall@1 |")


def test_the_group_is_part_of_the_command_line() -> None:
    names = {command.name for command in privacy_commands.app.registered_commands}
    assert names == {"report", "plan", "audit", "study"}


def test_a_ledger_that_lacks_rounds_is_not_reported_as_thrift(command: Command, run: Path) -> None:
    ledger = run / "ledger.jsonl"
    whole = ledger.read_text()
    for text in ("", whole.splitlines(keepends=True)[0]):
        ledger.write_text(text)
        answer = command("privacy", "report", str(run))
        assert answer.code == 1
        assert "the run has done 2 rounds; the ledger was cut, or put back" in answer.err
