"""The learning rate over rounds, and which weights decay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedmetric.config.experiment import Local
from fedmetric.training.optimiser import build_optimiser, learning_rate


def rates(settings: Local, rounds: int) -> list[float]:
    return [learning_rate(settings, round, rounds) for round in range(1, rounds + 1)]


def test_the_cosine_starts_at_lr_and_would_reach_zero_after_the_last_round() -> None:
    """With four rounds: (1 + cos(0, 45, 90, 135 degrees)) / 2."""
    found = rates(Local(lr=2.0), 4)
    assert found == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 1 - 0.5**0.5])
    assert found[-1] > 0


def test_a_constant_rate_stays() -> None:
    assert rates(Local(lr=0.5, schedule="constant"), 5) == [0.5] * 5


def test_the_warm_up_rises_in_equal_steps_to_lr() -> None:
    """Three rounds of warm-up: 1/4, 2/4, 3/4, then lr."""
    assert rates(Local(lr=4.0, schedule="constant", warmup_rounds=3), 5) == pytest.approx([1, 2, 3, 4, 4])


def test_after_the_warm_up_the_cosine_has_the_rounds_that_are_left() -> None:
    found = rates(Local(lr=1.0, warmup_rounds=2), 6)
    assert found == pytest.approx([1 / 3, 2 / 3, *rates(Local(lr=1.0), 4)])


def test_a_warm_up_longer_than_the_run_only_rises() -> None:
    found = rates(Local(lr=1.0, warmup_rounds=9), 3)
    assert found == pytest.approx([0.1, 0.2, 0.3])


def test_one_round_trains_at_lr() -> None:
    assert rates(Local(lr=0.3), 1) == [0.3]


def network() -> nn.Sequential:
    built = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))
    built[3].bias.requires_grad_(False)
    return built


@pytest.mark.parametrize(
    ("name", "kind"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)]
)
def test_weights_decay_and_norms_and_biases_do_not(name: str, kind: type[torch.optim.Optimizer]) -> None:
    module = network()
    optimiser = build_optimiser(module, Local(optimiser=name, weight_decay=0.25, momentum=0.7), 0.125)
    assert type(optimiser) is kind
    decayed, plain = optimiser.param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.25, 0.0)
    assert decayed["lr"] == plain["lr"] == 0.125
    assert {id(p) for p in decayed["params"]} == {id(module[0].weight), id(module[3].weight)}
    assert {id(p) for p in plain["params"]} == {id(module[0].bias), id(module[1].weight), id(module[1].bias)}


def test_momentum_is_that_of_sgd() -> None:
    assert build_optimiser(network(), Local(optimiser="sgd", momentum=0.7), 1.0).param_groups[0]["momentum"] == 0.7


def test_one_step_of_sgd_by_hand() -> None:
    """W = 2, gradient 3, decay 0.5, lr 0.1: 2 - 0.1 * (3 + 0.5 * 2) = 1.6; the bias 2 - 0.1 * 3 = 1.7."""
    layer = nn.Linear(1, 1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(2.0)
            parameter.grad = torch.full_like(parameter, 3.0)
    build_optimiser(layer, Local(optimiser="sgd", momentum=0.0, weight_decay=0.5), 0.1).step()
    assert layer.weight.item() == pytest.approx(1.6)
    assert layer.bias.item() == pytest.approx(1.7)
