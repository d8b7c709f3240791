"""Tables of scores as text and Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

ROWS = ("pixels", "random", "trained")
TITLES = {
    "recall@1": "Recall@1",
    "recall@5": "Recall@5",
    "recall@10": "Recall@10",
    "map@r": "MAP@R",
    "r_precision": "R-precision",
    "mrr": "MRR",
    "fewshot_5w1s": "5-way 1-shot",
    "fewshot_5w5s": "5-way 5-shot",
    "fewshot_20w1s": "20-way 1-shot",
    "fewshot_20w5s": "20-way 5-shot",
    "knn_accuracy": "kNN accuracy",
    "linear_accuracy": "linear probe",
}
Evaluation = Mapping[str, Mapping[str, Mapping[str, Any]]]


def percent(score: Mapping[str, Any] | None) -> str:
    """Write a score as percent with the half-width of its interval; a dash where there is none."""
    if score is None or score["mean"] is None:
        return "-"
    interval = f" ±{100 * score['ci95']:.1f}" if score["ci95"] is not None else ""
    return f"{100 * score['mean']:.1f}{interval}"


def present(evaluation: Evaluation) -> list[str]:
    """List the scores of the table that at least one row has, in the table's order."""
    return [name for name in TITLES if any(name in scores for scores in evaluation.values())]


def score_table(evaluation: Evaluation, title: str) -> Table:
    """Draw rows of scores side by side: raw pixels, the untrained network, the trained one."""
    table = Table(
        title=title, title_justify="left", caption="percent, ± half-width of the 95 % interval", caption_justify="left"
    )
    table.add_column("unseen classes")
    for row in ROWS:
        table.add_column({"random": "random encoder"}.get(row, row), justify="right")
    for name in present(evaluation):
        table.add_row(TITLES[name], *(percent(evaluation.get(row, {}).get(name)) for row in ROWS))
    return table


def markdown_table(evaluation: Evaluation) -> str:
    """Write the same table as Markdown."""
    lines = ["| | " + " | ".join(ROWS) + " |", "|---|" + "---:|" * len(ROWS)]
    for name in present(evaluation):
        cells = " | ".join(percent(evaluation.get(row, {}).get(name)) for row in ROWS)
        lines.append(f"| {TITLES[name]} | {cells} |")
    return "\n".join(lines)


def wins(evaluation: Evaluation) -> list[str]:
    """List the scores on which the trained row beats both baselines by more than its own interval."""
    won = []
    for name in present(evaluation):
        rows = [evaluation.get(row, {}).get(name) for row in ROWS]
        if any(score is None or score["mean"] is None for score in rows):
            continue
        pixels, random, trained = (score for score in rows if score is not None)
        if trained["mean"] - (trained["ci95"] or 0.0) > max(pixels["mean"], random["mean"]):
            won.append(name)
    return won
