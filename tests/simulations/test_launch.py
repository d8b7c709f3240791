"""A run that was asked to end on a collapse ends on one, names the cause, and its advice helps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from command import Command
from fedmetric.arrays import Arrays
from fedmetric.config import Experiment
from fedmetric.errors import CollapseError, ConfigError, FedmetricError
from fedmetric.runs import RunFolder
from fedmetric.server import checkpoints
from fedmetric.server.alarm import PATIENCE
from fedmetric.simulations.launch import resume_run, start_run
from tiny import tiny

ONE_POINT = '''
from fedmetric.objectives.simclr import SimCLR

class OnePoint(SimCLR):
    """Pull every embedding to the point (1, ..., 1)."""

    def forward(self, backbone, batch):
        return (backbone(batch.views[0]).flatten(1) - 1).square().mean()
'''
BRIEF = (f"federation.rounds={PATIENCE + 1}", "evaluation.every=0")


def ignore(event: Mapping[str, Any]) -> None:
    pass


@pytest.fixture
def collapsing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    (tmp_path / "one_point.py").write_text(ONE_POINT)
    monkeypatch.syspath_prepend(tmp_path)
    return tiny("objective=one_point:OnePoint", "local.lr=0.1", *BRIEF)


def alarms(folder: Path) -> list[dict[str, Any]]:
    return [event for event in RunFolder.open(folder).events() if event["event"] == "alarm"]


def test_a_collapsing_run_ends_with_exit_code_seven_and_says_why(collapsing: Experiment, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = r"round 3: the embedding space has collapsed .* at the clients too .* local training itself collapses"
    with pytest.raises(CollapseError, match=words) as caught:
        start_run(collapsing, folder, ignore, workers=1, fail_on="collapse")
    assert caught.value.exit_code == 7
    summary = RunFolder.open(folder).summary()
    assert summary is not None
    assert (summary["status"], summary["exit_code"], summary["rounds"]) == ("failed", 7, PATIENCE)
    assert [event["round"] for event in alarms(folder)] == [PATIENCE]


def test_the_command_line_ends_with_seven_and_the_cause(
    collapsing: Experiment, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(collapsing.to_toml())
    words = ("run", str(tmp_path / "mine.toml"), "--out", str(tmp_path / "run"), "--workers", "1")
    answer = Command(capsys, monkeypatch)(*words, "--fail-on", "collapse")
    assert answer.code == 7
    assert "the embedding space has collapsed" in answer.err
    assert "Traceback" not in answer.err


def test_a_run_that_ended_on_a_collapse_can_be_resumed_without_the_demand(
    collapsing: Experiment, tmp_path: Path
) -> None:
    with pytest.raises(CollapseError):
        start_run(collapsing, tmp_path / "cut", ignore, workers=1, fail_on="collapse")
    resumed = resume_run(tmp_path / "cut", ignore, workers=1)
    whole = start_run(collapsing, tmp_path / "whole", ignore, workers=1)
    assert resumed["weights_sha256"] == whole["weights_sha256"]
    assert (whole["status"], whole["exit_code"]) == ("done", 0)
    assert [event["kind"] for event in alarms(tmp_path / "whole")] == ["collapse", "collapse"]


def test_running_statistics_that_have_seen_few_batches_are_no_collapse(tmp_path: Path) -> None:
    """Five steps a round leave running statistics near their start; the clients' own batches spread well."""
    summary = start_run(tiny(*BRIEF), tmp_path / "averaged", ignore, workers=1, fail_on="collapse")
    assert summary["status"] == "done"
    assert alarms(tmp_path / "averaged") == []


@pytest.mark.parametrize("rule", ["fedbn", "solo"])
def test_recalibrating_what_clients_keep_is_refused(tmp_path: Path, rule: str) -> None:
    with pytest.raises(ConfigError, match=f"'recalibrate' has nothing to measure: .* the rule '{rule}' leaves them"):
        start_run(tiny("federation.norm=recalibrate", f"federation.rule={rule}"), tmp_path / "run", ignore, workers=1)


def test_a_healthy_run_that_is_asked_to_end_on_a_collapse_does_not(tmp_path: Path) -> None:
    healthy = tiny(*BRIEF, "federation.norm=group_norm")
    summary = start_run(healthy, tmp_path / "run", ignore, workers=1, fail_on="collapse")
    assert (summary["status"], summary["exit_code"]) == ("done", 0)
    assert alarms(tmp_path / "run") == []


def test_a_full_disk_is_said_in_one_line_and_the_run_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the second checkpoint on, nothing can be written: not the checkpoint, not the summary."""
    full, write = [False], checkpoints.save_arrays

    def save(path: Path, arrays: Arrays) -> None:
        full[0] = full[0] or "0002" in path.parent.name
        if full[0]:
            raise OSError(28, "No space left on device")
        write(path, arrays)

    def summary(folder: RunFolder, content: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_arrays", save)
        patch.setattr(RunFolder, "write_summary", summary)
        with pytest.raises(FedmetricError, match="No space left on device; the last whole checkpoint is kept"):
            start_run(tiny("checkpoint_every=1"), tmp_path / "full", lambda event: None, workers=1)
    resumed = resume_run(tmp_path / "full", lambda event: None, workers=1)
    whole = start_run(tiny("checkpoint_every=1"), tmp_path / "whole", lambda event: None, workers=1)
    assert resumed["weights_sha256"] == whole["weights_sha256"]
