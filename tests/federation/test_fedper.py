"""FedPer and FedRep: heads stay; FedRep trains them first."""

from __future__ import annotations

import pytest

from fedmetric.federation.base import FederationRule, RuleContext
from fedmetric.federation.fedper import FedPer
from fedmetric.federation.fedrep import FedRep
from fedmetric.layout import Layout, routes

LAYOUT = Layout({"conv": "backbone", "norm": "backbone", "proj": "projector", "pred": "predictor", "bank": "queue"})


@pytest.mark.parametrize("kind", [FedPer, FedRep])
def test_every_head_stays_and_the_whole_backbone_travels(kind: type[FederationRule]) -> None:
    way = routes(LAYOUT, kind(RuleContext(LAYOUT)).local())
    assert way.up == way.down == ("conv", "norm")
    assert way.own == ("proj", "pred", "bank")


def test_heads_of_parts_stay_too() -> None:
    layout = Layout({"conv": "backbone", "a": "simclr.projector", "b": "supcon.projector"})
    assert FedPer(RuleContext(layout)).local() == ["a", "b"]
