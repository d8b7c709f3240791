"""FedRep: which half of the network a step trains."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fedmetric.federation.base import LocalRound, RuleContext
from fedmetric.federation.fedrep import FedRep
from fedmetric.layout import Layout

LAYOUT = Layout({"conv": "backbone", "proj": "projector", "pred": "predictor"})
NETWORK: Any = None


def trained(share: float, num_steps: int) -> str:
    """Return for each step of a round "h" where heads keep their gradients, "b" where the backbone does."""
    rule, found = FedRep(RuleContext(LAYOUT), head_share=share), ""
    parameters = {name: torch.nn.Parameter(torch.zeros(1)) for name in LAYOUT.groups}
    now = LocalRound(NETWORK, {}, parameters=parameters, num_steps=num_steps)
    for now.steps in range(num_steps):
        for parameter in parameters.values():
            parameter.grad = torch.ones(1)
        rule.correct(now)
        left = {name for name, parameter in parameters.items() if parameter.grad is not None}
        found += {("conv",): "b", ("pred", "proj"): "h"}[tuple(sorted(left))]
    return found


@pytest.mark.parametrize(
    ("share", "steps", "wanted"),
    [(0.5, 6, "hhhbbb"), (0.5, 5, "hhhbb"), (0.25, 8, "hhbbbbbb"), (0.0, 3, "bbb"), (1.0, 3, "hhh"), (0.5, 1, "h")],
)
def test_heads_come_first_and_the_backbone_after_them(share: float, steps: int, wanted: str) -> None:
    """Step s of K, from 0, trains the heads while s < share K: of five steps at a half, those below 2.5."""
    assert trained(share, steps) == wanted
