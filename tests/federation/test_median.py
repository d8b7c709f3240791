"""The median of a few clients."""

from __future__ import annotations

import numpy as np
import pytest

from fedmetric.errors import ConfigError
from fedmetric.federation.base import RuleContext, Update
from fedmetric.federation.median import Median
from fedmetric.layout import Layout
from oracles import robust as oracle

LAYOUT = Layout(dict.fromkeys(("w", "mean", "var", "n"), "backbone"), frozenset({"w"}), statistics={"mean": "var"})
RULE = Median(RuleContext(LAYOUT))


def test_every_coordinate_is_taken_by_itself() -> None:
    """The medians of (1, 5, 2), (9, 7, 8) and (1, 2, 3): no client has sent (2, 8, 2). Images do not count."""
    shared = {"w": np.zeros(3, np.float32)}
    rows = ((1, 9, 1), (5, 7, 2), (2, 8, 3))
    updates = [Update(client, {"w": np.array(row, np.float32)}, 10**client) for client, row in enumerate(rows)]
    found = RULE.aggregate({}, shared, updates)[1]["w"]
    assert (found.tolist(), found.dtype) == ([2, 8, 2], np.float32)


@pytest.mark.parametrize("number", [1, 2, 5, 8])
def test_it_is_that_of_the_loop(number: int) -> None:
    vectors = np.random.default_rng(4).normal(size=(number, 40))
    found = RULE.aggregate({}, {"w": vectors[0]}, [Update(k, {"w": vector}, 1) for k, vector in enumerate(vectors)])
    np.testing.assert_allclose(found[1]["w"], oracle.median(vectors.tolist()), rtol=1e-15)


def test_running_statistics_are_treated_like_weights_and_counters_take_the_largest() -> None:
    values = (1.0, 2.0, 50.0)
    updates = [
        Update(k, {"w": np.array([v]), "mean": np.array([-v]), "var": np.array([v]), "n": np.array(int(v))}, 1)
        for k, v in enumerate(values)
    ]
    found = RULE.aggregate({}, updates[0].arrays, updates)[1]
    assert {name: array.tolist() for name, array in found.items()} == {"w": [2], "mean": [-2], "var": [2], "n": 50}


def test_pooled_variances_are_refused_with_what_to_choose_instead() -> None:
    with pytest.raises(
        ConfigError, match="norm = 'pooled' needs means over clients.*Median.*'average' or 'group_norm'"
    ):
        Median(RuleContext(LAYOUT, pooled=LAYOUT.statistics))
