"""How many updates Krum and Bulyan need for each attacker, and how they say so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedmetric.arrays import Arrays
from fedmetric.errors import ConfigError, TooFewClientsError
from fedmetric.federation.base import RuleContext, Update
from fedmetric.federation.bulyan import Bulyan
from fedmetric.federation.krum import Krum
from fedmetric.layout import Layout

LAYOUT = Layout({"w": "backbone"}, frozenset({"w"}))
SHARED: Arrays = {"w": np.zeros(3)}
NEEDED = [(Krum, 1, 5), (Krum, 2, 7), (Krum, 3, 9), (Bulyan, 1, 7), (Bulyan, 2, 11)]


def updates(number: int) -> list[Update]:
    return [Update(client, {"w": np.full(3, float(client))}, 1) for client in range(number)]


@pytest.mark.parametrize(("kind", "malicious", "needed"), NEEDED)
def test_a_round_with_one_update_too_few_is_refused_and_the_next_larger_goes(
    kind: Any, malicious: int, needed: int
) -> None:
    rule = kind(RuleContext(LAYOUT, 100), malicious=malicious)
    wanted = (
        f"{needed - 1} updates came in this round, but federation.rule.malicious={malicious} needs .*= {needed} or "
        "more; lower it, or raise federation.clients_per_round"
    )
    with pytest.raises(TooFewClientsError, match=wanted) as caught:
        rule.aggregate({}, SHARED, updates(needed - 1))
    assert caught.value.exit_code == 5
    assert np.isfinite(rule.aggregate({}, SHARED, updates(needed))[1]["w"]).all()


@pytest.mark.parametrize(("kind", "malicious", "needed"), NEEDED)
def test_a_federation_too_small_for_any_round_is_refused_at_construction(
    kind: Any, malicious: int, needed: int
) -> None:
    kind(RuleContext(LAYOUT, needed), malicious=malicious)
    with pytest.raises(
        ConfigError, match=rf"malicious={malicious} needs .*= {needed} clients .*has {needed - 1}; lower"
    ):
        kind(RuleContext(LAYOUT, needed - 1), malicious=malicious)


@pytest.mark.parametrize("kind", [Krum, Bulyan])
def test_with_nobody_malicious_any_number_goes(kind: Any) -> None:
    for number in range(1, 5):
        assert 0 <= kind(RuleContext(LAYOUT)).aggregate({}, SHARED, updates(number))[1]["w"][0] <= number - 1


@pytest.mark.parametrize("kind", [Krum, Bulyan])
def test_a_network_without_trained_parameters_has_no_distances_and_still_a_result(kind: Any) -> None:
    context = RuleContext(Layout({"w": "backbone"}), 9)
    found = kind(context, malicious=1).aggregate({}, SHARED, updates(9))[1]["w"]
    assert 0 <= found[0] <= 8
