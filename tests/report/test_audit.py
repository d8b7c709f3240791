"""The findings of an audit: a table that fits, and notes below it."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from fedmetric.report.audit import audit_notes, audit_table
from fedmetric.simulations.audits.finding import Finding

FOUND = [
    Finding("membership", "untrained", "AUC", 0.49, 0.47, 0.51, 0.5, 1.0, 3000, "negative control: has seen no image"),
    Finding("membership", "untrained", "TPR@1%", None, n=1500, note="negative control: has seen no image"),
    Finding("canary-clients", "trained", "", None, note="not made: the run had no canary clients"),
]


def test_the_table_fits_80_columns_and_has_a_row_for_each_figure() -> None:
    screen = Console(file=StringIO(), width=80)
    screen.print(audit_table([finding.to_plain() for finding in FOUND]))
    assert isinstance(screen.file, StringIO)
    text = screen.file.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    assert "0.470-0.510" in text
    assert "3,000" in text


def test_a_note_stands_once_below() -> None:
    assert audit_notes([finding.to_plain() for finding in FOUND]) == [
        "membership, untrained: negative control: has seen no image",
        "canary-clients, trained: not made: the run had no canary clients",
    ]
