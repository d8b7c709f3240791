"""What a sweep found, as a Markdown table: a line for each cell, its seeds taken together, and one for the pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from fedmetric.config import Experiment
from fedmetric.evaluation.diagnostics import DIAGNOSTICS
from fedmetric.report.tables import title_of
from fedmetric.simulations.sweep import Cell, summary_of

COLUMNS = (
    "fewshot_5w1s", "fewshot_20w1s", "recall@1", "map@r", "verification_auc", "verification_eer",
    "verification_tar@1%", "cmc@1", "nmi",
)  # fmt: skip
"""Scores that a table shows, as far as the runs have them."""


def sweep_table(cells: Sequence[Cell], out: Path, columns: Sequence[str] = ()) -> str:
    """Write the table.

    Of several runs of a cell it shows their mean, the half-width of its 95 % interval by Student's t, the smallest and
    the largest. These are over seeds, each the mean of its folds, since the folds of a seed train on much the same
    images; with one seed they are over its folds. There is no column for the best. The pixels have a line of their
    own, or several where cells were measured on different images or in different ways.

    Args:
        cells: of a sweep, some of which may not be done.
        out: folder of the sweep.
        columns: names of scores; by default those of `COLUMNS` that some run has.
    """
    if not columns:
        measured = [summary["evaluation"]["trained"] for cell in cells if (summary := summary_of(out, cell))]
        columns = [name for name in COLUMNS if any(name in scores for scores in measured)] or list(COLUMNS[:4])
    seeds: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        seeds.setdefault(cell.labels, []).append(cell)
    head = ["cell", *(title_of(name) for name in columns), "rank", "seconds", "runs"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    notes = []
    pixels: dict[str, Pixels] = {}
    for labels, group in seeds.items():
        title = ", ".join(labels) or "base"
        problem = group[0].problem
        done = [(cell, summary) for cell in group if (summary := summary_of(out, cell)) is not None]
        if problem or not done:
            notes += [f"- {title}: {problem}"] if problem else []
            lines.append("| " + " | ".join([title, *["-"] * (len(head) - 2), "0"]) + " |")
            continue
        for cell, summary in done:
            seen = pixels.setdefault(_what_is_measured(cell.experiment), Pixels(title))
            seen.scores.setdefault((cell.seed, cell.fold), summary["evaluation"].get("pixels", {}))
        rank = _spread([(cell.seed, summary["diagnostics"].get("effective_rank")) for cell, summary in done])
        seconds = f"{np.mean([summary['seconds'] for _, summary in done]):.0f}"
        scores = " | ".join(_figure(done, name) for name in columns)
        lines.append(f"| {title} | {scores} | {rank} | {seconds} | {len(done)} |")
    for seen in pixels.values():
        title = "pixels" if len(pixels) == 1 else f"pixels, as for {seen.first}"
        found = [(seed, scores) for (seed, _), scores in seen.scores.items()]
        written = " | ".join(_score([(seed, scores.get(name)) for seed, scores in found]) for name in columns)
        lines.append(f"| {title} | {written} | - | - | - |")
    return "\n".join([*lines, *(["", "Not run:", "", *notes] if notes else [])]) + "\n"


@dataclass(frozen=True)
class Pixels:
    """The pixels' scores on one set of images, by seed and fold, and the first cell that was measured on it."""

    first: str
    scores: dict[tuple[int, int | None], Mapping[str, Any]] = field(default_factory=dict)


def _what_is_measured(experiment: Experiment | None) -> str:
    """Return what decides the images of an evaluation and how they are measured, but for the seed and the fold."""
    kept = {"data", "image_size", "validation_classes", "validation_folds", "public_classes", "evaluation"}
    return experiment.model_dump_json(include=kept) if experiment else ""


def _figure(done: Sequence[tuple[Cell, Mapping[str, Any]]], name: str) -> str:
    if name in DIAGNOSTICS:
        return _spread([(cell.seed, summary["diagnostics"].get(name)) for cell, summary in done], digits=2)
    return _score([(cell.seed, summary["evaluation"]["trained"].get(name)) for cell, summary in done])


def _score(scores: Sequence[tuple[int, Mapping[str, float] | None]]) -> str:
    """Write one run with its interval over queries, several with their range."""
    known = [(seed, score) for seed, score in scores if score and score["mean"] is not None]
    if len(known) == 1:
        (_, score), *_ = known
        return f"{100 * score['mean']:.1f}" + (f" ±{100 * score['ci95']:.1f}" if score["ci95"] else "")
    return _spread([(seed, 100 * score["mean"]) for seed, score in known])


def _spread(values: Sequence[tuple[int, float | None]], digits: int = 1) -> str:
    by_seed: dict[int, list[float]] = {}
    for seed, value in values:
        if value is not None:
            by_seed.setdefault(seed, []).append(value)
    runs = [value for found in by_seed.values() for value in found]
    known = [float(np.mean(found)) for found in by_seed.values()] if len(by_seed) > 1 else runs
    if not known:
        return "-"
    mean, low, high = (f"{value:.{digits}f}" for value in (np.mean(known), min(known), max(known)))
    if len(known) == 1:
        return mean
    half = float(stats.t.ppf(0.975, len(known) - 1)) * float(np.std(known, ddof=1)) / len(known) ** 0.5
    return f"{mean} ±{half:.{digits}f} ({low} to {high})"
