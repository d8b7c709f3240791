"""Every client alone: nothing travels, everything is kept."""

from __future__ import annotations

from fedmetric.federation.base import RuleContext
from fedmetric.federation.solo import Solo
from fedmetric.layout import Layout, routes

LAYOUT = Layout(
    {"conv": "backbone", "proj": "projector", "bank": "queue", "slow": "target"},
    private=frozenset({"queue"}),
    targets=frozenset({"slow"}),
)


def test_nothing_goes_up_or_down_and_the_client_keeps_it_all() -> None:
    way = routes(LAYOUT, Solo(RuleContext(LAYOUT)).local())
    assert (way.up, way.down) == ((), ())
    assert way.own == ("conv", "proj", "bank", "slow")


def test_its_clients_own_networks_are_what_is_evaluated() -> None:
    assert Solo.personal
    assert Solo.shares == "nothing"


def test_the_server_makes_nothing_of_nothing() -> None:
    assert Solo(RuleContext(LAYOUT)).aggregate({}, {}, []) == ({}, {})
