"""The privacy frontier of an experiment: the same training under several mechanisms, attacked, on one page.

The settings are runs of a sweep, so a study that was interrupted goes on, and every run can be looked at by itself.
Nothing is chosen by the table: the settings are named before it is drawn, so it may show the held-out classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedmetric.config import load_experiment
from fedmetric.errors import FedmetricError
from fedmetric.registry import objectives
from fedmetric.simulations.audits.audit import AUDIT, audit_run
from fedmetric.simulations.sweep import Cell, Row, Sweep, cells_of, run_sweep, summary_of

FRONTIER = "frontier.json"
ATTACKS = ("membership", "one-run")
SCORES = ("recall@1", "map@r", "fewshot_5w1s")
AUDITED = 0.5
"""Share of the images that are set aside for the attacks where the experiment says nothing."""


@dataclass(frozen=True)
class Settings:
    """What a study varies.

    Attributes:
        clip: clip norm of moves, L2.
        noises: noise multipliers of client-level privacy.
        record_noise: noise multiplier of record-level privacy; 0 leaves it out.
        record_clip: clip norm of gradients.
        secure: whether secure aggregation is one of the settings.
        delta: of every claim.
        seeds: 1 to this.
    """

    clip: float
    noises: tuple[float, ...]
    record_noise: float
    record_clip: float
    secure: bool
    delta: float
    seeds: int


def study_of(base: str, overrides: Sequence[str], settings: Settings) -> Sweep:
    """Return the runs of a study as a sweep.

    Args:
        base: an experiment.
        overrides: of it.
        settings: what is varied.
    """
    experiment = load_experiment(base, overrides)
    common = [*overrides, "federation.norm=group_norm"]
    if not experiment.audit_share:
        common.append(f"audit_share={AUDITED}")
    if experiment.federation.clients_per_round:
        common.append("federation.sampling=poisson")

    def mechanism(name: str, *options: str) -> tuple[str, ...]:
        table = ", ".join([f'name = "{name}"', f"delta = {settings.delta}", *options])
        return (f"privacy={{{table}}}",)

    rows = [Row(name="none", set=("privacy=none",))]
    for noise in (0.0, *settings.noises):
        named = f"z={noise:g}" if noise else "clip only"
        options = (f"clip = {settings.clip}", f"noise = {noise}")
        rows.append(Row(name=named, set=mechanism("client-level", *options)))
    if settings.record_noise:
        decomposable = objectives[experiment.objective.name].traits.get("decomposable")
        clipping = f'clipping = "{"record" if decomposable else "group"}"'
        chosen = (f"clip = {settings.record_clip}", f"noise = {settings.record_noise}", clipping)
        rows.append(Row(name=f"record-level z={settings.record_noise:g}", set=mechanism("record-level", *chosen)))
    if settings.secure:
        secure = ("privacy=none", "federation.secure.on=true", f"federation.secure.clip={settings.clip}")
        rows.append(Row(name="secure aggregation", set=secure))
    return Sweep(base=base, set=tuple(common), rows=tuple(rows), seeds=tuple(range(1, settings.seeds + 1)), report=True)


def run_study(sweep: Sweep, out: Path, jobs: int, tell: Callable[[str], None], only_table: bool = False) -> list[Any]:
    """Run and attack what has not been yet, and return the frontier: one row for each setting.

    Args:
        sweep: of `study_of`.
        out: folder of the study; frontier.json is written there.
        jobs: runs at a time.
        tell: called with a line for each step.
        only_table: run nothing.

    Raises:
        FedmetricError: a run failed.
    """
    cells = cells_of(sweep)
    if not only_table:
        failed = run_sweep(cells, out, jobs, tell)
        if failed:
            raise FedmetricError(f"{len(failed)} runs failed; see {out / failed[0].folder}.log; give the study again")
        for cell in cells:
            if summary_of(out, cell) and not (out / cell.folder / AUDIT).exists():
                tell(f"attacking {cell.folder}")
                audit_run(out / cell.folder, ATTACKS)
    rows = frontier_of(cells, out)
    (out / FRONTIER).write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return rows


def frontier_of(cells: Sequence[Cell], out: Path) -> list[dict[str, Any]]:
    """Put together what is known of every setting, its seeds averaged."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(", ".join(cell.labels), []).append(cell)
    return [row_of(name, group, out) for name, group in groups.items()]


def row_of(name: str, cells: Sequence[Cell], out: Path) -> dict[str, Any]:
    """Return a setting's means over seeds, with what is claimed for it; "problem" where it cannot be run."""
    done = [(cell, summary) for cell in cells if (summary := summary_of(out, cell)) is not None]
    row: dict[str, Any] = {"setting": name, "runs": len(done), "problem": cells[0].problem}
    if not done:
        return row
    scores = [summary["evaluation"]["trained"] for _, summary in done]
    row |= {score: _mean([one[score]["mean"] for one in scores if score in one]) for score in SCORES}
    privacy = done[0][1]["privacy"]
    row |= {key: privacy.get(key) for key in ("unit", "adversary", "delta", "label")}
    spent = [summary["privacy"].get("epsilon") for _, summary in done]
    row["epsilon"] = None if None in spent else max(spent)
    row["seconds"] = _mean([summary["seconds"] for _, summary in done])
    row["bytes_up"] = _mean([_sent(out / cell.folder) for cell, _ in done])
    found = [findings for cell, _ in done if (findings := _findings(out / cell.folder))]
    for key, (attack, subject, measure) in {
        "auc": ("membership", "trained", "AUC"),
        "tpr": ("membership", "trained", "TPR@1%"),
        "audited": ("one run", "trained", "epsilon >="),
        "negative": ("membership", "untrained", "AUC"),
        "positive": ("membership", "overfitted", "AUC"),
    }.items():
        chosen = [one for findings in found for one in findings if _is(one, attack, subject, measure)]
        row[key] = _mean([one["value"] for one in chosen if one["value"] is not None])
        row[f"{key}_low"] = _mean([one["low"] for one in chosen if one["low"] is not None])
        row[f"{key}_high"] = _mean([one["high"] for one in chosen if one["high"] is not None])
    row["ceiling"] = _mean([one["ceiling"] for f in found for one in f if one["attack"] == "one run"])
    return row


def _is(finding: Mapping[str, Any], attack: str, subject: str, measure: str) -> bool:
    return (finding["attack"], finding["subject"], finding["measure"]) == (attack, subject, measure)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _findings(folder: Path) -> list[dict[str, Any]]:
    place = folder / AUDIT
    return list(json.loads(place.read_text(encoding="utf-8"))["findings"]) if place.is_file() else []


def _sent(folder: Path) -> float:
    from fedmetric.runs import RunFolder

    return float(sum(event["bytes_up"] for event in RunFolder.open(folder).events() if event["event"] == "round"))
