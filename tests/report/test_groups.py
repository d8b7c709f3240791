"""The table of groups: worst first, the middle left out, all columns within 80."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from fedmetric.report.groups import SHOWN, group_table


def score(mean: float | None) -> dict[str, Any]:
    return {"mean": mean, "ci95": None, "n": 4}


def group(name: str, recall: float | None, precision: float | None = 0.25) -> dict[str, Any]:
    return {"name": name, "images": 20, "recall@1": score(recall), "map@r": score(precision)}


def shown(trained: list[dict[str, Any]]) -> list[str]:
    others = [{**one, "recall@1": score(0.125)} for one in trained]
    stream = io.StringIO()
    Console(file=stream, width=80).print(group_table({"trained": trained, "pixels": others, "random": others}, "class"))
    return stream.getvalue().splitlines()


def order_of(lines: list[str], names: list[str]) -> list[str]:
    return [name for line in lines for name in names if f" {name} " in line]


def test_groups_come_worst_first_and_equal_recall_by_map() -> None:
    lines = shown([group("good", 0.9), group("bad", 0.1), group("even", 0.5, 0.3), group("odd", 0.5, 0.2)])
    assert order_of(lines, ["good", "bad", "even", "odd"]) == ["bad", "odd", "even", "good"]
    (line,) = [line for line in lines if " bad " in line]
    assert [cell.strip() for cell in line.strip("│").split("│")] == ["bad", "20", "25.0", "10.0", "12.5", "12.5"]


@pytest.mark.parametrize("count", [2 * SHOWN, 2 * SHOWN + 1, 659])
def test_the_middle_of_many_groups_is_left_out_and_counted(count: int) -> None:
    names = [f"group{number:03d}" for number in range(count)]
    lines = shown([group(name, number / count) for number, name in enumerate(names)])
    assert order_of(lines, names) == names[:SHOWN] + names[-SHOWN:]
    assert sum("more" in line for line in lines) == (count > 2 * SHOWN)
    if count > 2 * SHOWN:
        assert any(f"... {count - 2 * SHOWN} more" in line for line in lines)


def test_groups_without_a_figure_are_counted_and_long_names_cut() -> None:
    lines = shown([group("a" * 60, 0.5), group("alone", None, None)])
    text = "\n".join(lines)
    assert "1 groups without two images of a class are left out" in text
    assert "alone" not in text
    assert "aaaa…" in text
    assert max(map(len, lines)) <= 80
