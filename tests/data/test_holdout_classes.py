"""Which of the user's classes nobody trains on."""

from __future__ import annotations

import hashlib

import pytest

from fedmetric.data.holdout_classes import classes_by_hash, classes_named
from fedmetric.errors import ConfigError

LETTERS = [f"class {letter}" for letter in "abcdefghij"]


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.01, 1), (0.2, 2), (0.55, 6), (1.0, 9)])
def test_a_share_is_rounded_but_takes_one_and_leaves_one(share: float, count: int) -> None:
    assert len(classes_by_hash(LETTERS, share)) == count


def test_the_choice_depends_on_names_only_not_on_order_or_repeats() -> None:
    assert classes_by_hash(LETTERS, 0.3) == classes_by_hash(LETTERS[::-1] * 3, 0.3)


def test_the_classes_of_smallest_hash_are_taken() -> None:
    smallest = min(LETTERS, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert classes_by_hash(LETTERS, 0.1) == {smallest}


def test_fewer_than_two_classes_hold_nothing_out() -> None:
    assert classes_by_hash(["only"], 0.9) == classes_by_hash([], 0.9) == set()


def test_globs_and_names_with_brackets_match() -> None:
    assert classes_named(["bird-a", "bird-b", "cat"], ["bird-*"], "set") == {"bird-a", "bird-b"}
    assert classes_named(["a[1]", "b"], ["a[1]"], "set") == {"a[1]"}


def test_many_classes_are_cut_short_in_the_error() -> None:
    with pytest.raises(ConfigError, match=r"no class of set matches 'zebra'; classes: .*class j, \.\.\.$"):
        classes_named([*LETTERS, "class k"], ["zebra"], "set")
