"""The folder of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmetric.config import parse_experiment
from fedmetric.errors import UsageError
from fedmetric.runs import EVENTS, RunFolder

EXPERIMENT = parse_experiment("seed = 4", "mine.toml", ["federation.rule=fedprox"])


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "deep" / "run", EXPERIMENT)


def test_the_experiment_can_be_repeated_from_the_folder(folder: RunFolder) -> None:
    assert RunFolder.open(folder.path).experiment == EXPERIMENT


def test_an_empty_folder_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert RunFolder.create(tmp_path / "run", EXPERIMENT).path == tmp_path / "run"


def test_the_folder_of_another_run_is_refused_with_the_way_to_continue_it(folder: RunFolder) -> None:
    with pytest.raises(
        UsageError, match=r"run is not empty; continue it with 'fedmetric resume', or choose another --out"
    ):
        RunFolder.create(folder.path, EXPERIMENT)


def test_a_folder_of_other_files_and_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_text("")
    for path in (tmp_path, tmp_path / "photo.png"):
        with pytest.raises(UsageError, match="is not empty; choose another --out"):
            RunFolder.create(path, EXPERIMENT)


def test_a_folder_without_a_run_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not the folder of a run: it has no experiment\.toml"):
        RunFolder.open(tmp_path)


def test_events_are_read_in_the_order_they_were_appended(folder: RunFolder) -> None:
    assert folder.events() == []
    folder.append({"event": "start"})
    folder.append({"event": "round", "round": 1, "loss": 0.5, "text": "two\nlines \u2028 ü"})
    assert folder.events() == [
        {"event": "start"},
        {"event": "round", "round": 1, "loss": 0.5, "text": "two\nlines \u2028 ü"},
    ]
    assert len((folder.path / EVENTS).read_text().splitlines()) == 2


def test_a_line_cut_off_by_a_crash_is_left_out(folder: RunFolder) -> None:
    folder.append({"event": "round", "round": 1})
    with (folder.path / EVENTS).open("a") as stream:
        stream.write('{"event": "round", "rou')
    assert folder.events() == [{"event": "round", "round": 1}]


def test_rounds_that_will_happen_again_are_forgotten_and_so_is_the_end(folder: RunFolder) -> None:
    for event in ({"event": "start"}, *({"event": "round", "round": r} for r in (1, 2, 3)), {"event": "end"}):
        folder.append(event)
    folder.forget_after(2)
    assert folder.events() == [{"event": "start"}, {"event": "round", "round": 1}, {"event": "round", "round": 2}]


def test_after_forgetting_a_cut_line_new_events_are_whole(folder: RunFolder) -> None:
    folder.append({"event": "round", "round": 1})
    with (folder.path / EVENTS).open("a") as stream:
        stream.write('{"event": "rou')
    folder.forget_after(1)
    folder.append({"event": "round", "round": 2})
    assert [event["round"] for event in folder.events()] == [1, 2]


def test_the_summary_is_absent_until_written_and_then_replaced(folder: RunFolder) -> None:
    assert folder.summary() is None
    folder.write_summary({"state": "running"})
    folder.write_summary({"state": "done", "scores": [1, None]})
    assert folder.summary() == {"state": "done", "scores": [1, None]}
    assert sorted(path.name for path in folder.path.iterdir()) == ["experiment.toml", "summary.json"]


def test_checkpoints_and_model_lie_inside(folder: RunFolder) -> None:
    assert folder.checkpoints.parent == folder.model.parent == folder.path
    assert folder.checkpoints != folder.model
