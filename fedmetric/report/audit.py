"""The findings of an audit as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table


def audit_table(findings: Sequence[Mapping[str, Any]]) -> Table:
    """Draw findings, as `Finding.to_plain` made them."""
    table = Table(title="attacks, with 95 % intervals", title_justify="left")
    for title in ("attack", "on", "measure"):
        table.add_column(title)
    for title in ("value", "interval", "chance", "ceiling", "n"):
        table.add_column(title, justify="right")
    table.add_column("note")
    for row in findings:
        interval = "" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        table.add_row(
            row["attack"], row["subject"], row["measure"], _number(row["value"]), interval, _number(row["chance"]),
            _number(row["ceiling"]), f"{row['n']:,}", row["note"],
        )  # fmt: skip
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
