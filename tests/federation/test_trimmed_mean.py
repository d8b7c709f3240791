"""The trimmed mean of a few clients."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.config import parse_experiment
from fedmetric.errors import ConfigError
from fedmetric.federation.base import RuleContext, Update
from fedmetric.federation.median import Median
from fedmetric.federation.trimmed_mean import TrimmedMean, dropped
from fedmetric.layout import Layout
from oracles import robust as oracle

CONTEXT = RuleContext(Layout({"w": "backbone"}, frozenset({"w"})))
RNG = np.random.default_rng(3)


def updates(*values: float) -> list[Update]:
    return [Update(client, {"w": np.array([float(value)])}, 1 + 99 * client) for client, value in enumerate(values)]


def run(trim: float, *values: float) -> float:
    return float(TrimmedMean(CONTEXT, trim=trim).aggregate({}, {"w": np.zeros(1)}, updates(*values))[1]["w"].item())


def test_a_share_is_dropped_at_each_end() -> None:
    """A fifth of five is one: of 1, 2, 4, 9, 1000 the mean of 2, 4 and 9 is left."""
    assert run(0.2, 9, 1000, 2, 1, 4) == 5


def test_a_share_that_is_no_whole_number_of_updates_is_rounded_down() -> None:
    """0.2 of four is less than one: nothing is dropped, and nothing is borne."""
    assert run(0.2, 0, 0, 0, 1000) == 250


@pytest.mark.parametrize(
    ("trim", "number", "wanted"),
    [(0.29, 100, 29), (0.2, 5, 1), (0.1, 30, 3), (1 / 3, 3, 1), (0.0, 9, 0), (0.5, 7, 3), (0.5, 8, 3), (0.5, 1, 0)],
)
def test_the_number_dropped_is_exact_where_floats_are_not(trim: float, number: int, wanted: int) -> None:
    assert dropped(trim, number) == wanted


def test_at_least_one_value_is_left_for_every_share_and_number() -> None:
    shares = [*np.linspace(0, 0.5, 51), 0.4999999999]
    assert all(2 * dropped(float(trim), number) < number for trim in shares for number in range(1, 40))


@pytest.mark.parametrize("trim", ["0", "0.1", "0.25", "0.29", "0.4"])
@pytest.mark.parametrize("number", [1, 2, 5, 10, 23])
def test_it_is_that_of_the_loop(trim: str, number: int) -> None:
    vectors = RNG.normal(size=(number, 30))
    given = [Update(client, {"w": vector}, 1) for client, vector in enumerate(vectors)]
    found = TrimmedMean(CONTEXT, trim=float(trim)).aggregate({}, {"w": vectors[0]}, given)[1]["w"]
    np.testing.assert_allclose(found, oracle.trimmed_mean(vectors.tolist(), trim), rtol=1e-12, atol=1e-15)


def test_nothing_trimmed_is_the_mean_with_every_client_alike() -> None:
    """Their images, 1, 100 and 199, do not count."""
    assert run(0.0, 1, 2, 6) == 3


@pytest.mark.parametrize("number", [1, 2, 5, 6])
def test_half_trimmed_is_the_median_bit_for_bit(number: int) -> None:
    given, shared = updates(*RNG.normal(size=number)), {"w": np.zeros(1)}
    one = TrimmedMean(CONTEXT, trim=0.5).aggregate({}, shared, given)[1]["w"]
    assert one.tobytes() == Median(CONTEXT).aggregate({}, shared, given)[1]["w"].tobytes()


@pytest.mark.parametrize("trim", ["0.51", "-0.1", "nan"])
def test_a_share_outside_its_range_is_refused_in_the_experiment(trim: str) -> None:
    with pytest.raises(ConfigError, match="trim"):
        parse_experiment(f'federation.rule = {{ name = "trimmed-mean", trim = {trim} }}', "mine.toml")
