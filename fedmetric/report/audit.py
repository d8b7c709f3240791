"""The findings of an audit as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table


def audit_table(findings: Sequence[Mapping[str, Any]]) -> Table:
    """Draw findings, as `Finding.to_plain` made them; see `audit_notes` for what stands below."""
    table = Table(
        title="attacks, with 95 % intervals", title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for title in ("attack", "on", "measure"):
        table.add_column(title, no_wrap=True)
    for title in ("value", "interval", "chance", "ceiling", "n"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in findings:
        interval = "" if row["low"] is None else f"{row['low']:.3f}-{row['high']:.3f}"
        table.add_row(
            row["attack"], row["subject"], row["measure"], _number(row["value"]), interval, _number(row["chance"]),
            _number(row["ceiling"]), f"{row['n']:,}",
        )  # fmt: skip
    return table


def audit_notes(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """List what must be known to read the findings, once for each attack on something."""
    notes = {(row["attack"], row["subject"], row["note"]): None for row in findings if row["note"]}
    return [f"{attack}, {subject}: {note}" for attack, subject, note in notes]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
