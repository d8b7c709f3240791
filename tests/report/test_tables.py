"""Tables of scores, and what counts as a win."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from fedmetric.evaluation.diagnostics import DIAGNOSTICS
from fedmetric.evaluation.directions import LOW_IS_GOOD
from fedmetric.report.tables import TITLES, markdown_table, percent, present, score_table, title_of, wins


def score(mean: float | None, ci95: float | None = None) -> dict[str, Any]:
    return {"mean": mean, "ci95": ci95, "n": 10, "skipped": 0}


def rows(pixels: float, random: float, trained: float, ci95: float | None = None) -> dict[str, Any]:
    return {
        "pixels": {"map@r": score(pixels)},
        "random": {"map@r": score(random)},
        "trained": {"map@r": score(trained, ci95)},
    }


EVALUATION = {
    "pixels": {"map@r": score(0.25), "recall@1": score(0.5, 0.01), "unlisted": score(1.0)},
    "random": {"recall@1": score(0.4, None)},
    "trained": {"map@r": score(0.5, 0.0321), "recall@1": score(None)},
}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (score(0.1234, 0.0056), "12.3 ±0.6"),
        (score(1.0), "100.0"),
        (score(0.0, 0.0), "0.0 ±0.0"),
        (score(None, None), "-"),
        (None, "-"),
    ],
)
def test_scores_are_percent_with_the_half_width_of_their_interval(given: dict[str, Any] | None, text: str) -> None:
    assert percent(given) == text


def test_scores_are_listed_in_the_order_of_the_titles_when_any_row_has_them() -> None:
    assert present(EVALUATION) == ["recall@1", "map@r"]
    assert present({}) == []


def test_the_markdown_has_a_column_for_each_row_of_scores() -> None:
    assert markdown_table(EVALUATION).splitlines() == [
        "| | pixels | random | trained |",
        "|---|---:|---:|---:|",
        "| Recall@1 | 50.0 ±1.0 | 40.0 | - |",
        "| MAP@R | 25.0 | - | 50.0 ±3.2 |",
    ]


def test_every_line_of_the_markdown_has_as_many_cells() -> None:
    full = {row: {name: score(0.5) for name in TITLES} for row in ("pixels", "random", "trained")}
    lines = markdown_table(full).splitlines()
    assert len(lines) == 2 + len(TITLES)
    assert {line.count("|") for line in lines} == {5}


def test_the_drawn_table_shows_the_same_figures() -> None:
    stream = io.StringIO()
    Console(file=stream, width=100).print(score_table(EVALUATION, "after round 3"))
    text = stream.getvalue()
    for part in ("after round 3", "random encoder", "unseen classes", "Recall@1", "50.0 ±3.2", "half-width"):
        assert part in text
    assert "unlisted" not in text


@pytest.mark.parametrize(
    ("evaluation", "won"),
    [
        (rows(0.3, 0.4, 0.5, 0.05), ["map@r"]),
        (rows(0.4, 0.3, 0.5, 0.05), ["map@r"]),
        (rows(0.3, 0.4, 0.5, 0.15), []),
        (rows(0.3, 0.4, 0.4), []),
        (rows(0.3, 0.4, 0.41), ["map@r"]),
        (rows(0.6, 0.4, 0.5), []),
        (rows(0.4, 0.6, 0.5), []),
    ],
)
def test_a_win_beats_both_baselines_by_more_than_the_interval(evaluation: dict[str, Any], won: list[str]) -> None:
    assert wins(evaluation) == won


def test_a_score_that_a_row_lacks_is_no_win() -> None:
    assert wins(EVALUATION) == []
    assert wins({"trained": {"map@r": score(0.9)}}) == []


def test_a_low_error_beats_high_ones() -> None:
    def errors(pixels: float, random: float, trained: float) -> dict[str, Any]:
        values = {"pixels": pixels, "random": random, "trained": trained}
        return {row: {"verification_eer": score(value)} for row, value in values.items()}

    assert wins(errors(0.3, 0.4, 0.1)) == ["verification_eer"]
    assert wins(errors(0.3, 0.1, 0.2)) == []
    assert set(TITLES) > LOW_IS_GOOD - set(DIAGNOSTICS)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("fewshot_3w2s", "3-way 2-shot"),
        ("verification_tar@0.01%", "TAR at FAR 0.01%"),
        ("map@r", "MAP@R"),
        ("unlisted", "unlisted"),
    ],
)
def test_scores_whose_names_an_experiment_decides_have_titles_too(name: str, title: str) -> None:
    assert title_of(name) == title


def test_scores_without_a_fixed_name_are_listed_after_the_others() -> None:
    row = {"fewshot_3w2s": score(0.5), "unlisted": score(0.5), "nmi": score(0.5)}
    assert present({"trained": row}) == ["nmi", "fewshot_3w2s"]


def test_every_score_that_the_tasks_report_fits_80_columns_whole() -> None:
    full = {row: {name: score(1.0, 0.111) for name in TITLES} for row in ("pixels", "random", "trained")}
    stream = io.StringIO()
    Console(file=stream, width=80).print(score_table(full, "a title"))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for title in TITLES.values():
        (line,) = [line for line in lines if line.startswith("│") and line.split("│")[1].strip() == title]
        assert line.count("100.0 ±11.1") == 3
