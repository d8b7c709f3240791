"""What a run shows: plain lines without a terminal, a table that fits 80 columns with one."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from fedmetric.cli.progress import Progress

SCORE = {"mean": 0.5, "ci95": 0.01, "n": 10, "skipped": 0}
START = {
    "event": "start", "round": 0, "rounds": 20, "name": "glyphs", "clients": 4, "images": 5184, "classes": 81,
    "evaluation_on": "held-out", "evaluation_images": 1344, "evaluation_classes": 42, "notes": ["seen: a note"],
    "skipped": 3, "small_clients": 2, "batch_size": 64,
}  # fmt: skip
BASELINES = {"event": "baselines", "rows": {row: {"recall@1": SCORE, "map@r": SCORE} for row in ("pixels", "random")}}


def round_event(number: int, failures: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "event": "round", "round": number, "rounds": 20, "ok": 4 - len(failures), "failed": len(failures),
        "failures": list(failures), "loss": 2.5, "loss_spread": 0.25, "bytes_up": 2.6e6, "bytes_down": 5.2e6,
        "diagnostics": {"std": 0.44, "rank": 23.4}, "clients": {}, "drift_cosine": 0.125,
    }  # fmt: skip


def evaluation(number: int) -> dict[str, Any]:
    scores = {"recall@1": SCORE, "map@r": {**SCORE, "mean": None}}
    return {
        "event": "evaluation",
        "round": number,
        "scores": scores,
        "diagnostics": {"std": 0.44, "effective_rank": 23.4},
    }


def shown(events: list[dict[str, Any]], terminal: bool) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=80, height=40, legacy_windows=False, no_color=True)
    with Progress(console) as progress:
        for event in events:
            progress(event)
    return stream.getvalue()


def test_plain_lines_tell_round_clients_loss_traffic_and_time_left() -> None:
    text = shown([START, BASELINES, round_event(1), evaluation(1)], terminal=False)
    assert "glyphs: 4 clients, 5,184 images of 81 classes; held-out 1,344 images of 42 classes" in text
    assert "seen: a note" in text
    assert "3 files could not be used" in text
    assert "2 clients have fewer images than local.batch_size=64 and shrink their batch" in text
    assert "baselines: pixels Recall@1 50.0 MAP@R 50.0; random Recall@1 50.0 MAP@R 50.0" in text
    figures = "loss 2.500 ±0.250  std 0.44  drift cos 0.12  2.6 MB up 5.2 MB down  left 0:0"
    assert f"round 1/20  clients 4 ok 0 failed  {figures}" in text
    assert "after round 1:  Recall@1 50.0  MAP@R -  std 0.44  effective rank 23.4" in text
    assert "\x1b" not in text


def test_a_lost_client_is_shown_with_its_error() -> None:
    text = shown([START, BASELINES, round_event(1, ("client 3, round 1, data: gone",))], terminal=False)
    assert "  lost client 3, round 1, data: gone" in text


def test_a_resumed_run_says_where_it_continues() -> None:
    assert "continuing after round 7" in shown([{**START, "round": 7}], terminal=False)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_warning_is_shown(terminal: bool) -> None:
    assert "warning: disk" in shown([START, BASELINES, {"event": "warning", "text": "disk"}], terminal=terminal)


@pytest.mark.parametrize("rounds", [1, 5, 19])
def test_the_live_table_fits_80_columns_and_keeps_the_last_rounds(rounds: int) -> None:
    import re

    events = [START, BASELINES, *(round_event(number) for number in range(1, rounds + 1)), evaluation(rounds)]
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown(events, terminal=True))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert f"{rounds}/20" in text
    for title in ("round", "ok/lost", "loss", "R@1", "MAP@R", "std", "rank", "cos", "MB up/down", "left"):
        assert title in text


def test_the_live_table_shows_the_first_lost_client() -> None:
    text = shown([START, BASELINES, round_event(1, ("client 3, round 1, data: gone",))], terminal=True)
    assert "lost 1; the first: client 3" in text


@pytest.mark.parametrize("terminal", [True, False])
def test_an_alarm_is_shown_once(terminal: bool) -> None:
    alarms = [{"event": "alarm", "round": n, "kind": "collapse", "text": "it has collapsed"} for n in (3, 4)]
    text = shown([START, BASELINES, round_event(3), alarms[0], round_event(4), alarms[1]], terminal=terminal)
    assert "alarm, round 3: it has collapsed" in text
    assert "round 4: it has collapsed" not in text


def test_a_round_of_clients_alone_has_no_figures_of_an_aggregated_model() -> None:
    event = {**round_event(1), "diagnostics": {}}
    del event["drift_cosine"]
    assert "std -  drift cos -  " in shown([START, BASELINES, event], terminal=False)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_run_that_measures_no_retrieval_shows_what_it_does_measure(terminal: bool) -> None:
    scores = {"verification_auc": SCORE, "verification_eer": {**SCORE, "mean": None}, "verification_accuracy": SCORE}
    baselines = {"event": "baselines", "rows": {"pixels": scores, "random": scores}}
    text = shown([START, baselines, round_event(1), {**evaluation(1), "scores": scores}], terminal)
    assert "pixels verification AUC 50.0 EER (low is good) -" in text
    if not terminal:
        assert "after round 1:  verification AUC 50.0  EER (low is good) -  std 0.44" in text
