"""Each cause of a collapse by its words, and how long one must last."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fedmetric.server.alarm import PATIENCE, WARM_UP_BATCHES, CollapseAlarm, collapse_cause, limit_of

LIMIT = 0.1
LOW, HIGH = {"std": 0.02}, {"std": 0.5}


def cause(aggregated: Mapping[str, float], clients: Mapping[str, float], **drift: float) -> str:
    return collapse_cause(aggregated, clients, drift, LIMIT) or ""


def test_a_space_has_collapsed_below_a_quarter_of_the_untrained_deviation_and_at_0_05_in_any_case() -> None:
    assert limit_of({"std": 0.8}) == pytest.approx(0.2)
    assert limit_of({"std": 0.1}) == limit_of({}) == 0.05


@pytest.mark.parametrize("aggregated", [{}, {"std": LIMIT}, {"std": 0.9}, {"rank": 1.0}])
def test_without_a_low_deviation_nothing_is_said(aggregated: dict[str, float]) -> None:
    """Whatever else is wrong: a rank of 1 is no gate, and a round without a figure is no collapse."""
    assert cause({**aggregated, "norm_gap": 0.9, "batch_std": 0.9}, LOW) == ""


def test_statistics_that_do_not_fit_the_averaged_weights() -> None:
    text = cause({**LOW, "norm_gap": 0.7, "batch_std": 0.6}, HIGH)
    assert "collapsed (std 0.020, below 0.100) only with running statistics (with the batch's own: 0.600)" in text
    assert "set federation.norm to 'recalibrate' or 'group_norm'" in text


@pytest.mark.parametrize("batch", [{"norm_gap": 0.2, "batch_std": 0.6}, {"norm_gap": 0.7, "batch_std": 0.01}, {}])
def test_statistics_are_not_blamed_for_a_space_that_has_collapsed_without_them(batch: dict[str, float]) -> None:
    assert "running statistics" not in cause({**LOW, **batch}, HIGH)


def test_training_that_collapses_at_the_clients() -> None:
    text = cause(LOW, {"std": 0.03})
    assert "at the clients too (std 0.030): local training itself collapses; lower local.lr" in text


def test_averaging_that_undoes_what_the_clients_learn() -> None:
    text = cause(LOW, HIGH, drift_cosine=-0.25)
    assert "but not at the clients (std 0.500): averaging undoes what they learn" in text
    assert "(cosine between their moves -0.25); lower local.epochs or local.lr, or take a rule" in text


def test_clients_without_figures_are_not_blamed() -> None:
    text = cause(LOW, {})
    assert "averaging undoes" in text
    assert "cosine" not in text


def test_the_alarm_goes_off_after_three_rounds_in_a_row() -> None:
    alarm = CollapseAlarm({"std": 0.4})
    assert PATIENCE == 3
    heard = [bool(alarm.check(LOW, HIGH, {})) for _ in range(4)]
    assert heard == [False, False, True, True]


def test_a_round_without_collapse_starts_the_count_again() -> None:
    alarm = CollapseAlarm({"std": 0.4})
    heard = [bool(alarm.check(figures, HIGH, {})) for figures in (LOW, LOW, HIGH, LOW, LOW, LOW)]
    assert heard == [False, False, False, False, False, True]


def test_statistics_that_have_seen_few_batches_are_not_held_against_a_run() -> None:
    unfit = {**LOW, "norm_gap": 0.7, "batch_std": 0.6}
    assert cause({**unfit, "batches": WARM_UP_BATCHES - 1}, HIGH) == ""
    assert "only with running statistics" in cause({**unfit, "batches": WARM_UP_BATCHES}, HIGH)
    assert "local training itself collapses" in cause({**LOW, "batches": 5, "batch_std": 0.01}, LOW)
