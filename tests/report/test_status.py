"""How far a run is, from hand-made folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedmetric.report.status import lines_of, prometheus_of, status_of
from fedmetric.runs import RunFolder
from tiny import tiny

ROUND: dict[str, Any] = {
    "event": "round", "ok": 3, "failed": 0, "failures": [], "loss": 1.25, "bytes_up": 1000, "bytes_down": 2000,
    "seconds": 4.0, "counted": True,
}  # fmt: skip
LOST = {"ok": 1, "failed": 2, "failures": ["client 1, round 2, data: gone", "client 2, round 2, reply: NaN"]}
SCORES = {"event": "evaluation", "round": 2, "scores": {"recall@1": {"mean": 0.5}, "map@r": {"mean": None}}}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", tiny("federation.rounds=5"))


def test_a_run_before_its_first_round_waits_or_has_stopped(folder: RunFolder) -> None:
    assert status_of(folder, conducted=True)["state"] == "waiting"
    assert status_of(folder, conducted=False)["state"] == "stopped"


def test_a_running_run_tells_its_last_round_and_all_its_problems(folder: RunFolder) -> None:
    folder.append(ROUND | {"round": 1})
    folder.append(ROUND | {"round": 2, "counted": False} | LOST)
    folder.append(SCORES)
    found = status_of(folder, conducted=True)
    assert (found["state"], found["round"], found["rounds"], found["clients_ok"]) == ("running", 2, 5, 1)
    assert (found["failures"], found["not_counted"], found["bytes_up"]) == (2, 1, 2000)
    assert found["scores"] == {"recall@1": 0.5}
    assert found["problems"] == [*LOST["failures"], "round 2 did not count"]  # type: ignore[misc]
    text = lines_of(found, "mine")
    assert text[0] == "mine: running, round 2 of 5"
    assert "  recall@1 50.0" in text
    assert "  ! client 1, round 2, data: gone" in text
    assert all(len(line) <= 80 for line in text)


def test_a_run_that_has_ended_says_how(folder: RunFolder) -> None:
    folder.write_summary({"status": "failed", "error": "the disk is full"})
    found = status_of(folder, conducted=False)
    assert (found["state"], found["problems"]) == ("failed", ["the disk is full"])


def test_a_round_without_a_loss_is_shown_as_such(folder: RunFolder) -> None:
    folder.append(ROUND | {"round": 1, "loss": None, "ok": 0})
    assert any("loss -" in line for line in lines_of(status_of(folder, conducted=False), "mine"))


def test_prometheus_reads_every_line(folder: RunFolder) -> None:
    folder.append(ROUND | {"round": 1})
    text = prometheus_of(status_of(folder, conducted=True), 'a"b')
    assert 'fedmetric_round{run="a\\"b"} 1' in text.splitlines()
    assert 'fedmetric_state{run="a\\"b",state="running"} 1' in text.splitlines()
    assert 'fedmetric_failures_total{run="a\\"b"} 0' in text.splitlines()
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        assert line.startswith("# ") or (name.startswith("fedmetric_") and float(value) >= 0)
