"""The benchmarks measure what they say; how long it takes is nobody's business here."""

from __future__ import annotations

import pytest

from fedmetric.errors import MissingExtraError
from fedmetric.simulations.benchmarks import augmentation, federation, retrieval, search
from fedmetric.simulations.benchmarks.pairs import Pair, time_pairs


def test_the_ratio_is_the_median_over_pairs() -> None:
    """1/2, 2/2 and 9/3: the median is 1, the mean would be 1.5."""
    pair = Pair("x", (1.0, 2.0, 9.0), (2.0, 2.0, 3.0))
    assert pair.ratio == 1.0
    assert "1.000x the time (0.500..3.000)" in pair.row()


def test_a_way_that_is_much_faster_is_called_so() -> None:
    assert "10.0x faster" in Pair("x", (1.0,), (10.0,)).row()


def test_both_ways_run_once_before_and_then_in_turn_with_the_order_swapped() -> None:
    calls: list[str] = []
    pair = time_pairs("x", lambda: calls.append("a"), lambda: calls.append("b"), 3)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert len(pair.ours) == len(pair.other) == 3


def test_the_views_are_compared_at_both_sizes_and_with_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augmentation, "BATCH", 4)
    names = [pair.name for pair in augmentation.augmentation_speed(1)]
    assert any("32x32x3" in name for name in names)
    assert sum("28x28x1" in name for name in names) == 2


def test_the_evaluator_gives_the_values_of_both_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="the extra 'benchmarks' is not installed")
    monkeypatch.setattr(retrieval, "CLASSES", 30)
    assert all("(ok)" in pair.note for pair in retrieval.evaluator_speed(1))


def test_values_that_differ_are_called_unequal(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss", reason="the extra 'benchmarks' is not installed")
    monkeypatch.setattr(retrieval, "CLASSES", 30)
    monkeypatch.setattr(retrieval, "AGREEMENT", -1.0)
    assert all("NOT EQUAL" in pair.note for pair in retrieval.evaluator_speed(1))


def test_the_search_finds_what_faiss_finds() -> None:
    pytest.importorskip("faiss", reason="the extra 'benchmarks' is not installed")
    (pair,) = search.search_speed(1, rows=500, queries=20)
    assert pair.note == "20 of 20 queries find the same 10 in the same order"


def test_without_faiss_the_pip_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fedmetric\[benchmarks\]'"):
        retrieval.require_faiss()


def test_federation_and_bare_loop_do_the_same_counted_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(federation, "ROUNDS", 1)
    (pair,) = federation.federation_overhead(1)
    assert pair.note == "40 steps each"
