"""What a run shows while it runs: a live table on a terminal, plain lines elsewhere; both on stderr."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from fedmetric.report.tables import title_of

SHOWN_ROUNDS = 12


class Progress:
    """Follow the events of a run; use as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._header = ""
        self._baseline = ""
        self._rounds: list[dict[str, Any]] = []
        self._evaluated: dict[int, Mapping[str, Any]] = {}
        self._warnings: list[str] = []
        self._began = time.monotonic()
        self._live = (
            Live(console=self.console, auto_refresh=False, transient=False) if self.console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live:
            self._live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._live:
            self._live.__exit__(*exception)

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show one event."""
        lines: list[str] = {
            "start": self._start,
            "baselines": self._baselines,
            "privacy": self._privacy,
            "round": self._round,
            "evaluation": self._evaluation,
            "warning": self._warning,
            "alarm": self._alarm,
        }.get(event["event"], _nothing)(event)
        if self._live:
            self._live.update(self._table(), refresh=True)
        else:
            for line in lines:
                print(line, file=self.console.file, flush=True)

    def _start(self, event: Mapping[str, Any]) -> list[str]:
        held = f"{event['images']:,} images of {event['classes']} classes" if event["images"] else "images of their own"
        self._header = (
            f"{event['name']}: {event['clients']} clients, {held}; "
            f"{event['evaluation_on']} {event['evaluation_images']:,} images of {event['evaluation_classes']} classes"
        )
        lines = [self._header, *event["notes"]]
        if event["skipped"]:
            lines.append(f"{event['skipped']} files could not be used ('fedmetric data inspect' lists them)")
        if event["small_clients"]:
            small, batch = event["small_clients"], event["batch_size"]
            lines.append(f"{small} clients have fewer images than local.batch_size={batch} and shrink their batch")
        if event["round"]:
            lines.append(f"continuing after round {event['round']}")
        self._header = "\n".join(lines)
        return lines

    def _baselines(self, event: Mapping[str, Any]) -> list[str]:
        self._began = time.monotonic()
        self._baseline = "; ".join(f"{row} {_headline(scores, ' ')}" for row, scores in event["rows"].items())
        return [f"baselines: {self._baseline}"]

    def _privacy(self, event: Mapping[str, Any]) -> list[str]:
        from fedmetric.privacy.statement import sentence_of

        line = f"{sentence_of(dict(event), 'planned')}, planned over all rounds"
        self._header += f"\n{line}"
        return [line]

    def _round(self, event: Mapping[str, Any]) -> list[str]:
        left = (time.monotonic() - self._began) / max(1, len(self._rounds) + 1) * (event["rounds"] - event["round"])
        row = {**event, "left": _clock(left)}
        self._rounds.append(row)
        line = (
            f"round {event['round']}/{event['rounds']}  clients {event['ok']} ok {event['failed']} failed  "
            f"{_told(event)}"
            f"{event['bytes_up'] / 1e6:.1f} MB up {event['bytes_down'] / 1e6:.1f} MB down  left {row['left']}"
        )
        lines = [line, *(f"  lost {failure}" for failure in event["failures"][:1])]
        if not event.get("counted", True):
            self._warnings.append(f"round {event['round']} did not count: too few clients, the weights stay")
            lines.append(f"  {self._warnings[-1]}")
        return lines

    def _evaluation(self, event: Mapping[str, Any]) -> list[str]:
        self._evaluated[event["round"]] = event
        scores, diagnostics = event["scores"], event["diagnostics"]
        return [
            f"after round {event['round']}:  "
            f"{_headline(scores, '  ')}  "
            f"std {_number(diagnostics.get('std'))}  effective rank {_number(diagnostics.get('effective_rank'), 1)}"
        ]

    def _warning(self, event: Mapping[str, Any]) -> list[str]:
        self._warnings.append(f"warning: {event['text']}")
        return self._warnings[-1:]

    def _alarm(self, event: Mapping[str, Any]) -> list[str]:
        first = not any(warning.startswith("alarm") for warning in self._warnings)
        if first:  # later rounds would only repeat it
            self._warnings.append(f"alarm, round {event['round']}: {event['text']}")
        return self._warnings[-1:] if first else []

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False)
        for title in ("round", "ok/lost", "loss", "spread", "R@1", "MAP@R", "std", "rank", "cos", "MB up/down", "left"):
            table.add_column(title, justify="right", no_wrap=True)
        for row in self._rounds[-SHOWN_ROUNDS:]:
            measured = self._evaluated.get(row["round"])
            scores = measured["scores"] if measured else {}
            diagnostics = row["diagnostics"]
            table.add_row(
                f"{row['round']}/{row['rounds']}",
                f"{row['ok']}/{row['failed']}",
                _number(row["loss"], 3),
                _number(row["loss_spread"], 3),
                _percent(scores["recall@1"]) if "recall@1" in scores else "",
                _percent(scores["map@r"]) if "map@r" in scores else "",
                _number(diagnostics.get("std")),
                _number(diagnostics.get("rank"), 1),
                _number(row.get("drift_cosine")),
                f"{row['bytes_up'] / 1e6:.1f}/{row['bytes_down'] / 1e6:.1f}",
                row["left"],
            )
        lost = [failure for row in self._rounds for failure in row["failures"]]
        below = [Text(warning, style="yellow") for warning in self._warnings]
        below += [Text(f"lost {len(lost)}; the first: {lost[0]}", style="red")] if lost else []
        return Group(Text(self._header), Text(self._baseline, style="dim"), table, *below)


def _told(event: Mapping[str, Any]) -> str:
    """Return how training goes; what clients tell of themselves is left out of a round in which they hide it."""
    std = f"std {_number(event['diagnostics'].get('std'))}  "
    if event["loss"] is None:
        return std
    loss = f"loss {_number(event['loss'], 3)} ±{_number(event['loss_spread'], 3)}  "
    return f"{loss}{std}drift cos {_number(event.get('drift_cosine'))}  "


def _nothing(event: Mapping[str, Any]) -> list[str]:
    return []


def _headline(scores: Mapping[str, Any], gap: str) -> str:
    """Show Recall@1 and MAP@R, or else the first two figures of whatever was measured."""
    names = [name for name in ("recall@1", "map@r") if name in scores] or list(scores)[:2]
    return gap.join(f"{title_of(name)} {_percent(scores[name])}" for name in names)


def _percent(score: Mapping[str, Any]) -> str:
    return "-" if score["mean"] is None else f"{100 * score['mean']:.1f}"


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
