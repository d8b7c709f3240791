"""The privacy frontier as a table and as a picture: what is learnt, what is claimed, what an attack finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]
HEAD = (
    "setting", "Recall@1", "MAP@R", "5w1s", "unit", "epsilon", "audited", "AUC", "95 %", "TPR@1%", "MB up", "seconds",
    "runs",
)  # fmt: skip


def frontier_table(rows: Sequence[Row]) -> str:
    """Write the frontier as Markdown; below it, what every figure means and why a setting is missing."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in rows]
    notes = [
        f"- {row['setting']}: {row.get('problem') or row.get('label')}"
        for row in rows
        if row.get("problem") or row.get("label")
    ]
    measured = [row for row in rows if row.get("negative") is not None]
    if measured:
        first = measured[0]
        notes.append(
            f"- controls of the attack: untrained AUC {first['negative']:.3f}, overfitted {first['positive']:.3f}"
        )
        notes.append(f"- audited: a lower bound on the epsilon of one image; at most {first['ceiling']:.2f} could show")
    return "\n".join([*lines, "", *notes]) + "\n"


def _cells(row: Row) -> list[str]:
    if not row["runs"]:
        return [row["setting"], *["-"] * (len(HEAD) - 2), "0"]
    interval = "-" if row["auc_low"] is None else f"{row['auc_low']:.3f} to {row['auc_high']:.3f}"
    return [
        row["setting"],
        *(_percent(row[score]) for score in ("recall@1", "map@r", "fewshot_5w1s")),
        row["unit"] or "none",
        "-" if row["unit"] is None else _number(row["epsilon"], 2, "no bound"),
        _number(row["audited"], 2),
        _number(row["auc"], 3),
        interval,
        _percent(row["tpr"]),
        f"{row['bytes_up'] / 1e6:,.0f}",
        f"{row['seconds']:,.0f}",
        str(row["runs"]),
    ]


def draw_frontier(rows: Sequence[Row], place: Path, title: str) -> None:
    """Draw Recall@1 and the attack's AUC over epsilon into a PNG; settings without a bound stand at the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    done = [row for row in rows if row["runs"] and row["recall@1"] is not None]
    bounded = [row for row in done if row["unit"] == "client" and row["epsilon"] is not None]
    records = [row for row in done if row["unit"] == "record" and row["epsilon"] is not None]
    unbounded = [row for row in done if row not in bounded and row not in records]
    largest = max([row["epsilon"] for row in (*bounded, *records)], default=1.0)
    least = min([row["epsilon"] for row in (*bounded, *records)], default=1.0)
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for panel, key, low, high, label in (
        (panels[0], "recall@1", None, None, "Recall@1 on unseen classes, percent"),
        (panels[1], "auc", "auc_low", "auc_high", "membership inference, AUC"),
    ):
        scale = 100.0 if key == "recall@1" else 1.0
        for group, marker, name in ((bounded, "o", "client-level"), (records, "s", "record-level")):
            kept = [row for row in group if row[key] is not None]
            panel.plot([r["epsilon"] for r in kept], [scale * r[key] for r in kept], marker, label=name, zorder=3)
            _bars(panel, [r["epsilon"] for r in kept], kept, low, high)
        places = [largest * 10 * 2**number for number in range(len(unbounded))]
        kept = [row for row in unbounded if row[key] is not None]
        panel.plot(places[: len(kept)], [scale * row[key] for row in kept], "^", label="no bound", zorder=3)
        _bars(panel, places, kept, low, high)
        for x, row in [*((r["epsilon"], r) for r in (*bounded, *records)), *zip(places, unbounded, strict=False)]:
            if row[key] is not None:
                panel.annotate(
                    row["setting"], (x, scale * row[key]), fontsize=8, rotation=30, xytext=(4, 5),
                    textcoords="offset points",
                )  # fmt: skip
        panel.set_xscale("log")
        panel.set_xticks([10.0**power for power in range(-2, 7) if least / 3 < 10.0**power < largest * 4])
        panel.minorticks_off()
        panel.set_xlabel("epsilon (right of the line: no bound)")
        panel.axvline(largest * 4, color="grey", linewidth=0.8, linestyle=":")
        panel.set_ylabel(label)
        panel.margins(x=0.15, y=0.25)
        panel.grid(alpha=0.3)
    panels[1].axhline(0.5, color="grey", linewidth=0.8, linestyle="--")
    panels[0].legend(loc="best", fontsize=8)
    figure.suptitle(title)
    figure.savefig(place, dpi=130)
    pyplot.close(figure)


def _bars(panel: Any, places: Sequence[float], rows: Sequence[Row], low: str | None, high: str | None) -> None:
    for x, row in zip(places, rows, strict=False):
        if low and high and row[low] is not None:
            panel.plot([x, x], [row[low], row[high]], color="grey", linewidth=1, zorder=2)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _number(value: float | None, digits: int, missing: str = "-") -> str:
    return missing if value is None else f"{value:.{digits}f}"
