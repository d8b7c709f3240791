"""FedBN: norm layers are found by module, whatever they are called, and stay with their client."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedmetric.federation.base import RuleContext
from fedmetric.federation.fedbn import FedBN
from fedmetric.layout import routes
from fedmetric.models.embedder import Embedder
from fedmetric.objectives.simclr import SimCLR


class Shortcut(nn.Module):
    """A residual block as ResNet has it: the norm layer of the shortcut is called "downsample.1"."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.downsample = nn.Sequential(nn.Conv2d(1, 4, 1), nn.BatchNorm2d(4))
        self.bn_free = nn.Conv2d(4, 4, 1)  # its name holds "bn", it is no norm layer
        self.normaliser = nn.Linear(4, 3)  # its name holds "norm"

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.bn_free(self.bn1(self.conv1(images)) + self.downsample(images)).mean(dim=(2, 3))
        return torch.as_tensor(self.normaliser(found))


@pytest.fixture
def embedder() -> Embedder:
    return Embedder(Shortcut(), SimCLR(3, hidden_dim=4, output_dim=2))


def test_the_norm_layer_of_a_shortcut_stays_and_layers_with_bn_in_their_name_travel(embedder: Embedder) -> None:
    layout = embedder.layout
    kept = set(FedBN(RuleContext(layout)).kept())
    norms = {name for name in embedder.state_dict() if name.startswith(("backbone.bn1.", "backbone.downsample.1."))}
    assert norms <= kept
    assert len(norms) == 10
    assert not [name for name in kept if "normaliser" in name or "bn_free" in name or "downsample.0" in name]


def test_norm_layers_of_heads_stay_too(embedder: Embedder) -> None:
    modules = dict(embedder.objective.named_modules())
    heads = [f"objective.{name}.weight" for name, module in modules.items() if isinstance(module, nn.BatchNorm1d)]
    assert heads
    assert set(heads) <= set(FedBN(RuleContext(embedder.layout)).kept())


def test_norm_layers_go_up_for_the_servers_evaluation_and_are_never_taken_down(embedder: Embedder) -> None:
    rule = FedBN(RuleContext(embedder.layout))
    way = routes(embedder.layout, rule.local(), rule.kept())
    assert list(way.up) == list(embedder.layout.groups)
    assert set(way.up) - set(way.down) == embedder.layout.norms == set(way.own)
