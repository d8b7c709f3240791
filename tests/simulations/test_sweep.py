"""Sweeps: which cells a file stands for, that they resume, and what their table says."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import pytest

from command import in_a_process
from fedmetric.config import preset_names
from fedmetric.errors import ConfigError
from fedmetric.simulations.sweep import (
    Sweep,
    cells_of,
    inline,
    label_of,
    load_sweep,
    run_sweep,
    summary_of,
    sweep_names,
)
from fedmetric.simulations.sweep_table import sweep_table
from tiny import TINY


@pytest.fixture
def base(tmp_path: Path) -> str:
    place = tmp_path / "tiny.toml"
    place.write_text(TINY)
    return str(place)


def sweep(base: str, **parts: object) -> Sweep:
    return Sweep.model_validate({"base": base, "report": True, **parts})


def test_cells_are_every_combination_of_rows_axes_and_seeds(base: str) -> None:
    axes = {"objective": ["simclr", "byol"], "federation.rule": ["fedavg", {"name": "fedprox", "mu": 0.5}]}
    rows = [{"name": "slow", "set": ["local.lr=1e-4"]}, {"name": "fast", "set": ["local.lr=1e-2"]}]
    cells = cells_of(sweep(base, axes=axes, rows=rows, seeds=[1, 2]))
    assert len(cells) == 2 * 2 * 2 * 2
    last = cells[-1]
    assert last.labels == ("fast", "byol", "fedprox mu=0.5")
    assert last.experiment is not None
    assert (last.experiment.local.lr, last.experiment.seed) == (1e-2, 2)
    assert last.experiment.federation.rule.options() == {"mu": 0.5}
    assert last.folder == "fast--byol--fedprox-mu=0.5--seed-2"


def test_a_combination_that_cannot_work_is_kept_with_the_reason(base: str) -> None:
    cells = cells_of(sweep(base, axes={"objective": ["simclr", "byol"], "federation.rule": ["fedu"]}))
    assert cells[0].experiment is None
    assert "works on the predictor" in cells[0].problem
    assert cells[1].experiment is not None


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"axes": {"seed": [5, 6]}}, "seed=5 has no effect: the sweep's seeds and folds say seed=1"),
        ({"set": ["seed=7"]}, "seed=7 has no effect"),
        ({"folds": 3, "axes": {"validation_fold": [0, 1]}}, "validation_fold=0 has no effect"),
        ({"folds": 3, "set": ["validation_classes=0.2"]}, "validation_classes=0.2 has no effect"),
        (
            {"axes": {"objective.temperature": [0.1, 0.9], "objective.name": ["dcl", "byol"]}},
            'objective.temperature=0.1 has no effect: a later axis or row says objective.name="dcl"',
        ),
        (
            {"axes": {"local.lr": [0.1, 0.2]}, "rows": [{"name": "slow", "set": ["local.lr=1e-4"]}]},
            "local.lr=0.1 has no effect: a later axis or row says local.lr=1e-4",
        ),
        (
            {"rows": [{"name": "a"}, {"name": "b", "set": ["image_size=16"]}]},
            "a--seed-1 and b--seed-1 are the same experiment; what tells them apart has no effect",
        ),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(base: str, parts: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        cells_of(sweep(base, **parts))


def test_what_a_method_is_may_stand_before_its_options(base: str) -> None:
    axes = {"objective.name": ["simclr", "dcl"], "objective.temperature": [0.1, 0.9]}
    found = [cell.experiment.objective for cell in cells_of(sweep(base, axes=axes)) if cell.experiment]
    assert [(chosen.name, chosen.options()["temperature"]) for chosen in found] == [
        ("simclr", 0.1), ("simclr", 0.9), ("dcl", 0.1), ("dcl", 0.9),
    ]  # fmt: skip
    same = sweep(base, folds=3, set=["evaluation.on=validation"])
    assert len(cells_of(same)) == 3


def test_a_sweep_without_any_cell_that_works_is_refused(base: str) -> None:
    with pytest.raises(ConfigError, match=r"no cell of the sweep can be run; the first: .*unknown key"):
        cells_of(sweep(base, set=["local.epoch=2"]))


def test_two_cells_of_one_name_are_refused(base: str) -> None:
    with pytest.raises(ConfigError, match="several cells are called same--seed-1"):
        cells_of(sweep(base, rows=[{"name": "same"}, {"name": "same", "set": ["local.epochs=2"]}]))


def test_a_wrong_key_of_a_sweep_is_named(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text('base = "glyphs"\naxis = {}')
    with pytest.raises(ConfigError, match=r"wrong.toml: not a sweep: (.|\n)*axis"):
        load_sweep(tmp_path / "wrong.toml")


def test_an_unknown_sweep_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="no file and no sweep 'omniglot-gird'; did you mean 'omniglot-grid'"):
        load_sweep(Path("omniglot-gird"))


@pytest.mark.parametrize("name", sweep_names())
def test_every_sweep_that_comes_along_has_cells_that_can_run(name: str) -> None:
    loaded = load_sweep(Path(name))
    assert loaded.base in preset_names()
    cells = cells_of(loaded)
    assert all("works on the predictor" in cell.problem for cell in cells if cell.experiment is None)


def test_values_are_written_as_inline_toml_without_their_label() -> None:
    table = {"name": "simclr", "temperature": 0.1, "on": True, "sizes": [1, 2], "label": "SimCLR"}
    assert inline(table) == '{name = "simclr", temperature = 0.1, on = true, sizes = [1, 2]}'
    assert label_of(table) == "SimCLR"
    assert label_of({"name": "fedprox", "mu": 0.5}) == "fedprox mu=0.5"
    assert label_of(3) == "3"


def fake_run(
    folder: Path, experiment: str, recall: float, seconds: float, status: str = "done", pixels: float = 0.2
) -> None:
    folder.mkdir(parents=True)
    (folder / "experiment.toml").write_text(experiment)
    score = {"mean": recall, "ci95": 0.01, "n": 10}
    evaluation = {"trained": {"recall@1": score}, "pixels": {"recall@1": {**score, "mean": pixels}}}
    summary = {
        "status": status, "seconds": seconds, "evaluation": evaluation,
        "diagnostics": {"effective_rank": 12.34},
    }  # fmt: skip
    (folder / "summary.json").write_text(json.dumps(summary))


def test_the_table_has_the_interval_of_one_seed_and_the_range_of_several(base: str, tmp_path: Path) -> None:
    """Seeds 0.5 and 0.6: mean 55.0, deviation 7.07, and Student's t for two values is 12.71: 12.71 x 7.07 / sqrt 2."""
    cells = cells_of(sweep(base, rows=[{"name": "one"}, {"name": "none", "set": ["local.epochs=2"]}], seeds=[1, 2]))
    for cell, recall in ((cells[0], 0.5), (cells[1], 0.6)):
        assert cell.experiment is not None
        fake_run(tmp_path / "out" / cell.folder, cell.experiment.to_toml(), recall, 10.0)
    lines = sweep_table(cells, tmp_path / "out", ("recall@1",)).splitlines()
    assert lines[0] == "| cell | Recall@1 | rank | seconds | runs |"
    assert lines[2] == "| one | 55.0 ±63.5 (50.0 to 60.0) | 12.3 ±0.0 (12.3 to 12.3) | 10 | 2 |"
    assert lines[3] == "| none | - | - | - | 0 |"
    assert "| one | 50.0 ±1.0 | 12.3 | 10 | 1 |" in sweep_table(cells[:1], tmp_path / "out", ("recall@1",))


def test_the_folds_of_a_seed_are_one_value_beside_other_seeds_and_several_alone(base: str, tmp_path: Path) -> None:
    """Means 0.5 and 0.6 of the seeds, as above; alone 0.4, 0.5, 0.6: Student's t for three is 4.303 x 10 / sqrt 3."""
    cells = cells_of(sweep(base, seeds=[1, 2], folds=3))
    for cell in cells:
        assert cell.experiment is not None
        assert cell.fold is not None
        recall = 0.3 + 0.1 * (cell.seed + cell.fold)
        fake_run(tmp_path / cell.folder, cell.experiment.to_toml(), recall, 10.0)
    both = sweep_table(cells, tmp_path, ("recall@1",)).splitlines()[2]
    assert both == "| base | 55.0 ±63.5 (50.0 to 60.0) | 12.3 ±0.0 (12.3 to 12.3) | 10 | 6 |"
    assert "| base | 50.0 ±24.8 (40.0 to 60.0) |" in sweep_table(cells[:3], tmp_path, ("recall@1",))


def test_the_pixels_stand_below_once_for_all_cells_that_saw_the_same_images(base: str, tmp_path: Path) -> None:
    other = {"name": "other", "set": ["evaluation.mirror=true"]}
    rows = [{"name": "one"}, {"name": "two", "set": ["local.epochs=2"]}, other]
    cells = cells_of(sweep(base, rows=rows, seeds=[1, 2]))
    together = "| pixels | 31.0 ±12.7 (30.0 to 32.0) | - | - | - |"
    for number, (cell, pixels) in enumerate(zip(cells, (0.3, 0.32, 0.3, 0.32, 0.4, 0.4), strict=True)):
        assert cell.experiment is not None
        fake_run(tmp_path / cell.folder, cell.experiment.to_toml(), 0.5, 10.0, pixels=pixels)
        if number in (2, 3):  # the second cell with one of its seeds, and with both
            assert sweep_table(cells[:4], tmp_path, ("recall@1",)).splitlines()[-1] == together
    assert sweep_table(cells, tmp_path, ("recall@1",)).splitlines()[-2:] == [
        "| pixels, as for one | 31.0 ±12.7 (30.0 to 32.0) | - | - | - |",
        "| pixels, as for other | 40.0 ±0.0 (40.0 to 40.0) | - | - | - |",
    ]


def test_the_table_says_why_a_cell_was_not_run(base: str, tmp_path: Path) -> None:
    table = sweep_table(
        cells_of(sweep(base, axes={"objective": ["simclr", "byol"], "federation.rule": ["fedu"]})), tmp_path
    )
    assert "- simclr, fedu: " in table
    assert "has none; choose another rule" in table


def test_a_folder_of_another_experiment_is_refused(base: str, tmp_path: Path) -> None:
    (cell,) = cells_of(sweep(base))
    (other,) = cells_of(sweep(base, set=["local.epochs=2"]))
    assert other.experiment is not None
    fake_run(tmp_path / cell.folder, other.experiment.to_toml(), 0.5, 1.0)
    with pytest.raises(ConfigError, match="holds another experiment than the sweep now asks for"):
        summary_of(tmp_path, cell)


def test_a_sweep_runs_what_is_not_done_and_nothing_twice(base: str, tmp_path: Path) -> None:
    cells = cells_of(sweep(base, set=["federation.rounds=1", "evaluation.every=0"], seeds=[1, 2]))
    assert cells[0].experiment is not None
    fake_run(tmp_path / "out" / cells[0].folder, cells[0].experiment.to_toml(), 0.5, 1.0)
    told: list[str] = []
    assert run_sweep(cells, tmp_path / "out", 2, told.append) == []
    assert told == ["2 cells, 1 to run", "1/1 seed-2: done"]
    summary = summary_of(tmp_path / "out", cells[1])
    assert summary is not None
    assert summary["rounds"] == 1
    again: list[str] = []
    run_sweep(cells, tmp_path / "out", 2, again.append)
    assert again == ["2 cells, 0 to run"]


def test_a_cell_that_fails_is_told_and_leaves_its_log(base: str, tmp_path: Path) -> None:
    cells = cells_of(sweep(base, set=["federation.rounds=1", "federation.clients_per_round=50"]))
    told: list[str] = []
    assert run_sweep(cells, tmp_path / "out", 1, told.append) == cells
    assert told[-1] == "1/1 seed-1: failed, exit code 4"
    assert "clients_per_round=50 but the partition has 3 clients" in (tmp_path / "out" / "seed-1.log").read_text()


def test_ending_a_sweep_ends_its_runs_with_a_checkpoint(base: str, tmp_path: Path) -> None:
    rows = 'rows = [{ name = "a" }, { name = "b", set = ["local.lr=1e-4"] }]'
    settings = 'set = ["federation.rounds=500", "evaluation.every=0", "checkpoint_every=0"]'
    (tmp_path / "long.toml").write_text(f'base = "{base}"\nreport = true\n{settings}\n{rows}')
    process = in_a_process("sweep", "long.toml", "--out", "out", "--jobs", "2", cwd=tmp_path)
    events = [tmp_path / "out" / f"{name}--seed-1" / "events.jsonl" for name in "ab"]
    while process.poll() is None and not all(e.is_file() and '"event": "round"' in e.read_text() for e in events):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "fedmetric: interrupted by signal 15" in err
    for name in "ab":
        summary = json.loads((tmp_path / "out" / f"{name}--seed-1" / "summary.json").read_text())
        assert summary["status"] == "interrupted"
        assert list((tmp_path / "out" / f"{name}--seed-1" / "checkpoints").glob("round-*"))
