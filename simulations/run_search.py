"""Run a search: draw a trial, run its cells, learn from it, go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedmetric.errors import ConfigError
from fedmetric.evaluation.diagnostics import DIAGNOSTICS
from fedmetric.evaluation.evaluator import score_names
from fedmetric.registry import nearest
from fedmetric.runs import RunFolder
from fedmetric.simulations.search import Drawn, Search, Trial, label_of_trial, sampler_of
from fedmetric.simulations.sweep import (
    Cell,
    Sweep,
    cells_with,
    check_classes_untouched,
    check_not_chosen_on_held_out,
    inline,
    run_sweep,
    stopped_mark,
    summary_of,
)

CHOSEN = "chosen.toml"


def run_search(
    sweep: Sweep, out: Path, jobs: int, tell: Callable[[str], None], only_done: bool = False
) -> tuple[list[Cell], list[Cell]]:
    """Run the trials that are not over, one after the other with `jobs` runs of a trial at a time.

    Trials follow one another so that what a trial draws never depends on which of two finished first. Where a trial
    has one seed and no folds and the sampler learns nothing, as many trials as `jobs` run at a time.

    Args:
        sweep: with a search.
        out: folder that holds the cells' folders.
        jobs: runs at a time.
        tell: called with one line for each run that ends.
        only_done: run nothing and choose nothing; leave out what was not begun.

    Returns:
        All cells, those of trials that cannot work among them, and those whose run failed.

    Raises:
        ConfigError: no trial can work, or one does not measure the metric, or would be measured on held-out classes.
        DataError: a trial would use a class that the base holds out.
    """
    assert sweep.search is not None
    search, sampler = sweep.search, sampler_of(sweep.search, sweep.space)
    cells: list[Cell] = []
    failed: list[Cell] = []
    trials: list[Trial] = []
    together = jobs if search.sampler == "random" else 1
    for first in range(0, search.trials, together):
        numbers = range(first, min(first + together, search.trials))
        drawn = {number: sampler.draw(number, trials) for number in numbers}
        new = {number: cells_of_trial(sweep, number, drawn[number]) for number in numbers}
        wanted = [cell for group in new.values() for cell in group]
        if only_done:
            cells += [cell for cell in wanted if cell.experiment is None or (out / cell.folder).exists()]
            trials += [trial_of(out, number, drawn[number], new[number], search) for number in numbers]
            continue
        check_measured(search, wanted)
        check_not_chosen_on_held_out(sweep, wanted)
        check_classes_untouched(sweep, wanted)
        before = tuple(trials)

        def hopeless(cell: Cell, before: Sequence[Trial] = before) -> bool:
            return sampler.hopeless(by_round(out, cell, search), before)

        failed += run_sweep(wanted, out, jobs, tell, hopeless if search.prune else None)
        cells += wanted
        trials += [trial_of(out, number, drawn[number], new[number], search) for number in numbers]
    if cells and all(cell.experiment is None for cell in cells):
        raise ConfigError(f"no trial of the search can be run; the first: {cells[0].labels[0]}: {cells[0].problem}")
    if not only_done:
        write_chosen(out, trials, cells, search)
    return cells, failed


def cells_of_trial(sweep: Sweep, number: int, drawn: Drawn) -> list[Cell]:
    """Build a trial's cells; of values that cannot work together, they hold the reason."""
    return cells_with(
        sweep, (label_of_trial(number, drawn),), [f"{key}={inline(value)}" for key, value in drawn.items()]
    )


def trial_of(out: Path, number: int, drawn: Drawn, cells: Sequence[Cell], search: Search) -> Trial:
    """Read what came of a trial from its folders."""
    summaries = [summary_of(out, cell) for cell in cells]
    values = [figure(summary, search) for summary in summaries if summary]
    known = [value for value in values if value is not None]
    return Trial(
        number, drawn, float(np.mean(known)) if len(known) == len(cells) else None, by_round(out, cells[0], search),
        stopped_mark(out, cells[0]).exists(),
    )  # fmt: skip


def check_measured(search: Search, cells: Sequence[Cell]) -> None:
    """Refuse a metric that a cell's evaluation does not give, or does not give between rounds to a search that prunes.

    Raises:
        ConfigError: names what it gives.
    """
    for settings in {cell.experiment.evaluation for cell in cells if cell.experiment}:
        names = [*score_names(settings), *DIAGNOSTICS]
        if search.metric not in names:
            close = nearest(search.metric, names)
            raise ConfigError(
                f"search.metric '{search.metric}' is not measured{close}; measured are {', '.join(names)}"
            )
        if not search.prune:
            continue
        if not settings.every:
            raise ConfigError("search.prune needs evaluations between rounds, and evaluation.every is 0")
        between = [*score_names(settings, full=False), *DIAGNOSTICS]
        if search.metric not in between:
            raise ConfigError(
                f"search.prune needs a metric that is measured between rounds, such as {', '.join(between[:3])}; "
                f"'{search.metric}' is measured at the end"
            )


def figure(summary: dict[str, Any], search: Search) -> float | None:
    """Return the metric of a search; see `check_measured`."""
    if search.metric in DIAGNOSTICS:
        value = summary["diagnostics"][search.metric]
    else:
        value = summary["evaluation"]["trained"][search.metric]["mean"]
    return None if value is None else float(value)


def by_round(out: Path, cell: Cell, search: Search) -> dict[int, float]:
    """Return the metric after each evaluated round of a cell that runs or has run."""
    if not (out / cell.folder).is_dir():
        return {}
    found = {}
    for event in RunFolder(out / cell.folder).events():
        if event["event"] != "evaluation":
            continue
        means = event["diagnostics"] | {name: score["mean"] for name, score in event["scores"].items()}
        if (value := means.get(search.metric)) is not None:  # some scores are measured at the end only
            found[int(event["round"])] = float(value)
    return found


def write_chosen(out: Path, trials: Sequence[Trial], cells: Sequence[Cell], search: Search) -> None:
    """Write the experiment of the trial that did best on validation classes, to be run once on the held-out ones."""
    known = [trial for trial in trials if trial.value is not None]
    if not known:
        return
    best = (min if search.smaller_is_better else max)(known, key=lambda trial: trial.value or 0.0)
    label = label_of_trial(best.number, best.drawn)
    experiment = next(cell.experiment for cell in cells if cell.labels == (label,) and cell.experiment)
    evaluation = experiment.evaluation.model_copy(update={"on": "held-out"})
    kept = {"validation_classes": 0.0, "validation_folds": 0, "validation_fold": 0, "evaluation": evaluation}
    said = f"# {label}: {search.metric} {best.value:.4f} on validation classes, of {len(known)} trials\n"
    (out / CHOSEN).write_text(said + experiment.model_copy(update=kept).to_toml(), encoding="utf-8")
