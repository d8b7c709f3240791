"""Tables of scores as text and Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from fedmetric.evaluation.directions import LOW_IS_GOOD

ROWS = ("pixels", "random", "start", "trained")
"""Rows of an evaluation in the order of a table; "start" are the weights that a run started from, where it did."""
TITLES = {
    "recall@1": "Recall@1",
    "recall@5": "Recall@5",
    "recall@10": "Recall@10",
    "map@r": "MAP@R",
    "r_precision": "R-precision",
    "mrr": "MRR",
    "recall@1_reranked": "Recall@1 re-ranked",
    "map@r_reranked": "MAP@R re-ranked",
    "fewshot_5w1s": "5-way 1-shot",
    "fewshot_5w5s": "5-way 5-shot",
    "fewshot_20w1s": "20-way 1-shot",
    "fewshot_20w5s": "20-way 5-shot",
    "knn_accuracy": "kNN accuracy",
    "prototype_accuracy": "nearest prototype",
    "linear_accuracy": "linear probe",
    "verification_auc": "verification AUC",
    "verification_eer": "EER (low is good)",
    "verification_tar@1%": "TAR at FAR 1%",
    "verification_tar@0.1%": "TAR at FAR 0.1%",
    "verification_accuracy": "pair accuracy",
    "cmc@1": "CMC rank 1",
    "cmc@5": "CMC rank 5",
    "cmc@10": "CMC rank 10",
    "dir@far1%": "DIR at FAR 1%",
    "dir@far10%": "DIR at FAR 10%",
    "nmi": "NMI",
    "ami": "AMI",
    "ari": "ARI",
    "purity": "purity",
}
CHOSEN = {r"fewshot_(\d+)w(\d+)s": r"\1-way \2-shot", r"verification_tar@(.+%)": r"TAR at FAR \1"}
"""Titles of scores whose names the experiment decides."""

Evaluation = Mapping[str, Mapping[str, Mapping[str, Any]]]


def percent(score: Mapping[str, Any] | None) -> str:
    """Write a score as percent with the half-width of its interval; a dash where there is none."""
    if score is None or score["mean"] is None:
        return "-"
    interval = f" ±{100 * score['ci95']:.1f}" if score["ci95"] is not None else ""
    return f"{100 * score['mean']:.1f}{interval}"


def present(evaluation: Evaluation) -> list[str]:
    """List the scores of the table that at least one row has, in the table's order; then those without a fixed name."""
    found = dict.fromkeys(name for scores in evaluation.values() for name in scores)
    listed = [name for name in TITLES if name in found]
    return listed + [name for name in found if name not in TITLES and title_of(name) != name]


def title_of(name: str) -> str:
    """Return what a score is called in a table: its own name, if it has no other."""
    for pattern, title in CHOSEN.items():
        if name not in TITLES and (match := re.fullmatch(pattern, name)):
            return match.expand(title)
    return TITLES.get(name, name)


def score_table(evaluation: Evaluation, title: str) -> Table:
    """Draw rows of scores side by side: raw pixels, the untrained network, the trained one."""
    table = Table(
        title=title, title_justify="left", caption="percent, ± half-width of the 95 % interval", caption_justify="left"
    )
    table.add_column("unseen classes")
    rows = shown(evaluation)
    for row in rows:
        table.add_column({"random": "random encoder"}.get(row, row), justify="right")
    for name in present(evaluation):
        table.add_row(title_of(name), *(percent(evaluation[row].get(name)) for row in rows))
    return table


def shown(evaluation: Evaluation) -> list[str]:
    """List the rows that an evaluation has, in the table's order."""
    return [row for row in ROWS if row in evaluation]


def markdown_table(evaluation: Evaluation) -> str:
    """Write the same table as Markdown."""
    rows = shown(evaluation)
    lines = ["| | " + " | ".join(rows) + " |", "|---|" + "---:|" * len(rows)]
    for name in present(evaluation):
        cells = " | ".join(percent(evaluation[row].get(name)) for row in rows)
        lines.append(f"| {title_of(name)} | {cells} |")
    return "\n".join(lines)


def wins(evaluation: Evaluation) -> list[str]:
    """List the scores on which the trained row beats every baseline by more than its own interval."""
    won = []
    for name in present(evaluation):
        scores = [evaluation[row].get(name) for row in shown(evaluation)]
        known = [score for score in scores if score is not None and score["mean"] is not None]
        if "trained" not in evaluation or len(known) < len(scores) or len(known) < 2:
            continue
        sign = -1.0 if name in LOW_IS_GOOD else 1.0
        *others, trained = (sign * score["mean"] for score in known)
        if trained - (known[-1].get("ci95") or 0.0) > max(others):
            won.append(name)
    return won
