"""Searches: what trials draw, what they may be judged on, and that a search goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedmetric.config import load_experiment
from fedmetric.errors import ConfigError, DataError
from fedmetric.runs import RunFolder
from fedmetric.simulations import run_search as module
from fedmetric.simulations.launch import start_run
from fedmetric.simulations.run_search import CHOSEN, run_search
from fedmetric.simulations.search import Dimension, RandomSampler, Search, Trial, label_of_trial, sampler_of
from fedmetric.simulations.sweep import Cell, Sweep, cells_of, check_classes_untouched, with_seeds
from fedmetric.simulations.sweep_table import sweep_table
from tiny import TINY, tiny

LR = {"low": 1e-4, "high": 1e-2, "log": True}
SPACE: dict[str, Any] = {"local.lr": LR, "objective.temperature": {"values": [0.1, 0.2]}}
VALIDATION = ("validation_classes=0.34", "evaluation.on=validation")


@pytest.fixture
def base(tmp_path: Path) -> str:
    place = tmp_path / "tiny.toml"
    place.write_text(TINY)
    return str(place)


def sweep(base: str, **parts: Any) -> Sweep:
    return Sweep.model_validate({"base": base, "set": VALIDATION, "search": {"trials": 6}, "space": SPACE} | parts)


def dimensions(**tables: Any) -> dict[str, Dimension]:
    return {key: Dimension.model_validate(table) for key, table in tables.items()}


Runner = Callable[..., list[Cell]]


def runner(ran: list[str], value: Callable[[Any], float] = lambda experiment: experiment.local.lr) -> Runner:
    """Return a stand-in for `run_sweep` whose runs score what `value` says."""

    def run(cells: Sequence[Cell], out: Path, jobs: int, tell: object, stop: object = None) -> list[Cell]:
        for cell in cells:
            if cell.experiment is None or (out / cell.folder).exists():
                continue
            ran.append(cell.folder)
            folder = RunFolder.create(out / cell.folder, cell.experiment)
            score = {"mean": value(cell.experiment), "ci95": None, "n": 1, "skipped": 0}
            folder.append({"event": "evaluation", "round": 1, "scores": {"recall@1": score}, "diagnostics": {}})
            folder.write_summary(
                {"status": "done", "evaluation": {"trained": {"recall@1": score}}, "diagnostics": {}, "seconds": 1.0}
            )
        return []

    return run


def test_random_draws_depend_on_seed_and_number_alone() -> None:
    space = dimensions(a=LR, b={"values": [1, "x", True]}, c={"low": 2, "high": 5, "whole": True})
    sampler = RandomSampler(Search(), space)
    drawn = [sampler.draw(number, ()) for number in range(200)]
    assert drawn[3] == RandomSampler(Search(), space).draw(3, [Trial(0, {}, 1.0)])
    assert drawn[3] != RandomSampler(Search(seed=1), space).draw(3, ())
    assert all(1e-4 <= one["a"] <= 1e-2 for one in drawn)
    assert abs(np.mean([np.log10(one["a"]) for one in drawn]) + 3) < 0.15  # the middle of the logarithms
    assert {one["b"] for one in drawn} == {1, "x"}
    assert {one["c"] for one in drawn} == {2, 3, 4, 5}


@pytest.mark.parametrize("sampler", ["random", "optuna"])
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    pytest.importorskip("optuna", reason="the extra 'sweep' is not installed")
    ran: list[str] = []
    monkeypatch.setattr(module, "run_sweep", runner(ran))
    search = {"sampler": sampler, "trials": 6}
    run_search(sweep(base, search=search), tmp_path / "whole", 1, print)
    whole, ran[:] = list(ran), []
    run_search(sweep(base, search=search | {"trials": 3}), tmp_path / "cut", 1, print)
    assert ran == whole[:3]
    cells, _ = run_search(sweep(base, search=search), tmp_path / "cut", 1, print)
    assert ran == whole
    assert len(cells) == 6
    run_search(sweep(base, search=search), tmp_path / "cut", 1, print)
    assert ran == whole


def test_what_did_best_on_validation_is_written_to_be_run_on_the_held_out_classes(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run_sweep", runner([]))
    cells, _ = run_search(sweep(base), tmp_path / "out", 2, print)
    best = max(cell.experiment.local.lr for cell in cells if cell.experiment)
    chosen = load_experiment(tmp_path / "out" / CHOSEN)
    assert chosen.local.lr == best
    assert (chosen.evaluation.on, chosen.validation_classes) == ("held-out", 0.0)
    assert f"recall@1 {best:.4f} on validation classes, of 6 trials" in (tmp_path / "out" / CHOSEN).read_text()
    table = sweep_table(cells, tmp_path / "out", ["recall@1"])
    assert table.count("trial 00") == 6


def test_the_value_of_a_trial_is_the_mean_over_seeds_and_folds(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seed and the fold decide here: seeds 1 and 2, folds 0 to 2, all trials alike: 1.5 + 1."""
    ran: list[str] = []
    monkeypatch.setattr(module, "run_sweep", runner(ran, lambda e: e.seed + e.validation_fold))
    run_search(sweep(base, set=[], seeds=[1, 2], folds=3, search={"trials": 2}), tmp_path / "out", 1, print)
    assert len(ran) == 12
    assert "recall@1 2.5000 on validation classes" in (tmp_path / "out" / CHOSEN).read_text()


def test_the_estimator_comes_to_draw_near_what_did_well() -> None:
    pytest.importorskip("optuna", reason="the extra 'sweep' is not installed")
    space = dimensions(x={"low": 0.0, "high": 1.0})
    sampler = sampler_of(Search(sampler="optuna", trials=40), space)
    trials: list[Trial] = []
    for number in range(40):
        drawn = sampler.draw(number, trials)
        trials.append(Trial(number, drawn, -((drawn["x"] - 0.8) ** 2)))
    late = [abs(trial.drawn["x"] - 0.8) for trial in trials[-15:]]
    assert np.mean(late) < 0.2  # 0.34 when drawn uniformly


def test_a_trial_below_the_median_of_the_others_is_hopeless() -> None:
    pytest.importorskip("optuna", reason="the extra 'sweep' is not installed")
    space = dimensions(x={"low": 0.0, "high": 1.0})
    before = [Trial(n, {"x": 0.1 * n}, 0.5 + n / 10, {5: 0.4 + n / 10, 10: 0.5 + n / 10}) for n in range(5)]
    for prune, low in ((True, True), (False, False)):
        sampler = sampler_of(Search(sampler="optuna", prune=prune), space)
        assert sampler.hopeless({5: 0.3}, before) == low
        assert not sampler.hopeless({5: 0.75}, before)
        assert not sampler.hopeless({}, before)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"space": {}}, "a search needs both tables, search and space"),
        ({"rows": [{"name": "a"}]}, "a search draws its own cells; leave out axes and rows"),
        ({"report": True}, "a search never sees the held-out classes; leave out report"),
        ({"search": {"sampler": "optuna", "prune": True}, "folds": 3}, "use one seed and no folds"),
        ({"search": {"prune": True}}, "search.prune needs a sampler that compares trials; use sampler = 'optuna'"),
        ({"space": {"local.lr": {"low": 2, "high": 1}}}, "give either values, or low and high with low below high"),
        ({"space": {"local.lr": {"values": [1], "low": 1, "high": 2}}}, "give either values, or low and high"),
        ({"space": {"local.lr": {"low": 0, "high": 2, "log": True}}}, "log needs low and high above 0"),
    ],
)
def test_searches_that_cannot_be_are_refused(base: str, parts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep(base, **parts)


def test_a_key_that_is_none_is_refused(base: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"no trial .* can be run; the first: trial 000 lrr=.*local\.lrr: unknown key; did you mean 'lr'",
    ):
        run_search(sweep(base, space={"local.lrr": LR}), tmp_path / "out", 1, print)


def test_a_search_on_held_out_classes_is_refused(base: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="would be measured on the held-out classes, .* folds = 5"):
        run_search(sweep(base, set=[]), tmp_path / "out", 1, print)


def test_a_metric_that_is_not_measured_is_refused_before_anything_runs(base: str, tmp_path: Path) -> None:
    told = "search.metric 'recal@1' is not measured; did you mean 'recall@1'.*; measured are recall@1, recall@5"
    with pytest.raises(ConfigError, match=told):
        run_search(sweep(base, search={"metric": "recal@1"}), tmp_path / "out", 1, print)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("parts", "settings", "message"),
    [
        (
            {"metric": "linear_accuracy"},
            (),
            "needs a metric that is measured between rounds.*'linear_accuracy' is meas",
        ),
        ({}, ("evaluation.every=0",), "needs evaluations between rounds, and evaluation.every is 0"),
    ],
)
def test_a_search_that_could_never_prune_is_refused(
    base: str, tmp_path: Path, parts: dict[str, Any], settings: tuple[str, ...], message: str
) -> None:
    pytest.importorskip("optuna", reason="the extra 'sweep' is not installed")
    search = {"sampler": "optuna", "prune": True, **parts}
    with pytest.raises(ConfigError, match=f"search.prune {message}"):
        run_search(sweep(base, set=[*VALIDATION, *settings], search=search), tmp_path / "out", 1, print)


def test_errors_and_distances_are_made_small() -> None:
    assert [Search(metric=name).smaller_is_better for name in ("recall@1", "effective_rank")] == [False, False]
    assert [Search(metric=name).smaller_is_better for name in ("verification_eer", "uniformity")] == [True, True]


@pytest.mark.parametrize("sampler", ["random", "optuna"])
def test_a_search_goes_on_past_a_trial_whose_values_do_not_go_together(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: str
) -> None:
    pytest.importorskip("optuna", reason="the extra 'sweep' is not installed")
    ran: list[str] = []
    monkeypatch.setattr(module, "run_sweep", runner(ran))
    space = {"objective": {"values": ["simclr", "byol"]}, "federation.rule": {"values": ["fedavg", "fedu"]}}
    search = {"sampler": sampler, "trials": 12}
    cells, failed = run_search(sweep(base, space=space, search=search), tmp_path / "out", 1, print)
    impossible = [cell for cell in cells if cell.experiment is None]
    assert failed == []
    assert 0 < len(impossible) < 12
    assert all("objective=simclr rule=fedu" in cell.labels[0] for cell in impossible)
    assert len([cell for cell in cells if cell.experiment and cell.folder in ran]) == 12 - len(impossible)
    assert "works on the predictor" in sweep_table(cells, tmp_path / "out", ["recall@1"])
    assert (tmp_path / "out" / CHOSEN).exists()


def test_the_table_alone_goes_on_past_a_trial_that_failed_and_chooses_nothing(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "run_sweep", runner([]))
    cells, _ = run_search(sweep(base), tmp_path / "out", 1, print)
    chosen = (tmp_path / "out" / CHOSEN).read_text()
    shutil.rmtree(tmp_path / "out" / cells[1].folder)
    failed = tmp_path / "out" / cells[2].folder / "summary.json"
    failed.write_text(json.dumps(json.loads(failed.read_text()) | {"status": "failed"}))
    known, _ = run_search(sweep(base), tmp_path / "out", 1, print, only_done=True)
    assert [cell.folder for cell in known] == [cell.folder for cell in cells if cell != cells[1]]
    assert (tmp_path / "out" / CHOSEN).read_text() == chosen


def test_images_without_labels_are_searched_by_what_needs_none(tmp_path: Path) -> None:
    drawn = np.random.default_rng(1)
    (tmp_path / "images").mkdir()
    for number in range(40):
        Image.fromarray(drawn.integers(0, 256, (16, 16), np.uint8)).save(tmp_path / "images" / f"{number}.png")
    base = tmp_path / "plain.toml"
    data = f'[data]\nname = "folder"\npath = {json.dumps(str(tmp_path / "images"))}\nlayout = "unlabelled"\n'
    base.write_text(TINY.replace('data = "digits"\n', "").replace("clients = 3", "clients = 2") + data)
    search = {"trials": 2, "metric": "effective_rank"}
    wanted = sweep(str(base), set=[*VALIDATION, "federation.rounds=1"], search=search, space={"local.lr": LR})
    cells, failed = run_search(wanted, tmp_path / "out", 2, print)
    assert failed == []
    ranks = [json.loads((tmp_path / "out" / c.folder / "summary.json").read_text())["diagnostics"] for c in cells]
    best = max(found["effective_rank"] for found in ranks)
    assert f"effective_rank {best:.4f}" in (tmp_path / "out" / CHOSEN).read_text()
    assert f"{best:.2f}" in sweep_table(cells, tmp_path / "out", ["effective_rank"])


def test_settings_are_not_compared_on_held_out_classes_unless_the_file_says_that_nothing_is_chosen(base: str) -> None:
    rows = [{"name": "a"}, {"name": "b", "set": ["local.lr=1e-4"]}]
    with pytest.raises(ConfigError, match="a--seed-1 would be measured on the held-out classes"):
        cells_of(Sweep.model_validate({"base": base, "rows": rows}))
    assert len(cells_of(Sweep.model_validate({"base": base, "rows": rows, "report": True}))) == 2
    assert len(cells_of(Sweep.model_validate({"base": base, "rows": rows, "folds": 3}))) == 6


def test_a_sweep_that_would_use_a_class_that_its_base_holds_out_is_refused_by_name(tmp_path: Path) -> None:
    """The base holds out digits; a cell that chooses others would tune on some of them."""
    place = tmp_path / "folder.toml"
    for name in ("a", "b", "c", "d"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(np.full((16, 16), 20 * number, np.uint8)).save(tmp_path / "images" / name / f"{number}.png")
    data = json.dumps(str(tmp_path / "images"))
    place.write_text(f'image_size = 16\npartition = {{ name = "iid", clients = 2 }}\n'
                     f'[data]\nname = "folder"\npath = {data}\nheld_out = ["d"]\n')  # fmt: skip
    rows = [{"name": "as it is"}, {"name": "other", "set": ['data.held_out=["c"]']}]
    wanted = Sweep.model_validate({"base": str(place), "set": ["validation_classes=0.4", VALIDATION[1]], "rows": rows})
    with pytest.raises(DataError, match="1 held-out classes are also trained on: d; held-out classes must be unseen"):
        check_classes_untouched(wanted, cells_of(wanted))
    as_it_is = wanted.model_copy(update={"rows": wanted.rows[:1]})
    check_classes_untouched(as_it_is, cells_of(as_it_is))


def test_a_trial_is_called_by_what_it_drew() -> None:
    drawn = {"local.lr": 0.00123456, "objective.temperature": 0.1, "views": "glyphs", "x.y": [1, 2]}
    assert label_of_trial(7, drawn) == "trial 007 lr=0.00123 temperature=0.1 views=glyphs y=[1, 2]"


def test_several_seeds_of_a_search_that_stops_trials_are_refused(base: str) -> None:
    wanted = sweep(base, search={"sampler": "optuna", "prune": True})
    assert with_seeds(sweep(base), 3).seeds == (1, 2, 3)
    with pytest.raises(ConfigError, match="--seeds 3: search.prune stops a trial by its only run"):
        with_seeds(wanted, 3)


def test_a_search_runs_for_real_on_a_score_that_is_measured_at_the_end_from_weights_of_another_run(
    base: str, tmp_path: Path
) -> None:
    first = tiny(*VALIDATION, "federation.rounds=1", "evaluation.every=0")
    start_run(first, tmp_path / "first", lambda event: None, workers=1)
    wanted = sweep(
        base,
        set=[*VALIDATION, "federation.rounds=2", f'start.weights="{tmp_path / "first"}"'],
        search={"trials": 2, "metric": "linear_accuracy"},
    )
    cells, failed = run_search(wanted, tmp_path / "out", 2, print)
    assert failed == []
    assert "linear_accuracy" in (tmp_path / "out" / CHOSEN).read_text()
    again, _ = run_search(wanted, tmp_path / "out", 2, print, only_done=True)
    assert [cell.folder for cell in again] == [cell.folder for cell in cells]
    assert "linear probe" in sweep_table(cells, tmp_path / "out", ["linear_accuracy"])
