"""The terms of an aggregation: what is refused, and what signatures and keys are bound to."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedmetric.errors import ProtocolError
from fedmetric.privacy.secure.terms import Terms, check_clients, default_threshold, lowest_threshold

TERMS = Terms("mine", 4, 10, 7, 100, 0.5)


def test_the_default_threshold_is_the_smallest_whole_number_above_two_thirds() -> None:
    assert [default_threshold(number) for number in (3, 4, 5, 6, 9, 10, 100)] == [3, 3, 4, 5, 7, 7, 67]
    for number in range(3, 400):
        assert 3 * default_threshold(number) > 2 * number >= 3 * (default_threshold(number) - 1)
        assert lowest_threshold(number) <= default_threshold(number) <= number


def test_two_sets_of_the_lowest_threshold_always_have_a_client_in_common() -> None:
    """So no server, whatever it tells whom, collects both secrets of one client."""
    for number in range(3, 9):
        sets = [set(some) for some in itertools.combinations(range(number), lowest_threshold(number))]
        assert all(one & other for one in sets for other in sets)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_clients": 2, "threshold": 2}, "2 clients; it needs 3 to 65536"),
        ({"num_clients": 65_537, "threshold": 60_000}, "it needs 3 to 65536"),
        ({"threshold": 5}, "threshold 5 of 10 clients; it must be 6 to 10"),
        ({"threshold": 11}, "it must be 6 to 10"),
        ({"num_clients": 3, "threshold": 2}, "it must be 3 to 3"),
        ({"round": 0}, "both are 1 or more"),
        ({"length": 0}, "both are 1 or more"),
        ({"clip": 0.0}, "it must be positive, finite"),
        ({"clip": float("nan")}, "it must be positive, finite"),
    ],
)
def test_terms_outside_their_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        replace(TERMS, **changes)


def test_a_context_differs_for_every_other_value_purpose_and_client() -> None:
    others: list[dict[str, Any]] = [
        {"run": "mine4"}, {"round": 5}, {"num_clients": 11}, {"threshold": 8}, {"length": 101}, {"clip": 0.25},
    ]  # fmt: skip
    found = [
        TERMS.context("a", 1, 2), TERMS.context("a", 2, 1), TERMS.context("a", 12), TERMS.context("a"),
        TERMS.context("b", 1, 2), *(replace(TERMS, **other).context("a", 1, 2) for other in others),
    ]  # fmt: skip
    assert len(set(found)) == len(found)


def test_a_run_cannot_be_named_so_that_it_reads_as_other_terms() -> None:
    assert Terms('a", 1', 1, 3, 3, 1, 1).context("p") != Terms("a", 1, 3, 3, 1, 1).context("p")


def test_numbers_of_numpy_make_the_same_terms() -> None:
    same = Terms("mine", np.int64(4), np.int64(10), np.int32(7), np.int64(100), np.float64(0.5))  # type: ignore[arg-type]
    assert (same, same.context("a")) == (TERMS, TERMS.context("a"))


def test_terms_survive_json_exactly() -> None:
    terms = replace(TERMS, clip=0.1 + 0.2, run="Zoë «ю»")
    assert Terms.from_json(terms.to_json()) == terms


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"run": "a"}', b"\xff"])
def test_what_are_no_terms_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolError, match="no terms of secure aggregation"):
        Terms.from_json(text)


def test_clients_are_distinct_unsigned_64_bit_numbers() -> None:
    assert check_clients([3, 0, 2**64 - 1]) == {0, 3, 2**64 - 1}
    with pytest.raises(ProtocolError, match=r"named twice: \[3\]"):
        check_clients([3, 4, 3])
    for wrong in (-1, 2**64):
        with pytest.raises(ProtocolError, match="numbered from 0"):
            check_clients([wrong])
