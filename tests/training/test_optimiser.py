"""The learning rate over rounds, and which weights decay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedmetric.config.experiment import Local
from fedmetric.training.optimiser import build_optimiser, learning_rate, load_moments, moments


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


def steps(module: nn.Module, optimiser: torch.optim.Optimizer, first: int, last: int) -> None:
    """Take steps whose gradients are a function of the step alone."""
    for step in range(first, last):
        for place, parameter in enumerate(p for p in module.parameters() if p.requires_grad):
            generator = torch.Generator().manual_seed(100 * step + place)
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimiser.step()


def trained(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_an_optimiser_that_takes_up_its_moments_goes_on_bit_for_bit(name: str) -> None:
    """Five steps at once, against three, the moments as arrays, a new optimiser, and two."""
    settings = Local(optimiser=name, weight_decay=0.1)
    whole, parted = network(), network()
    parted.load_state_dict(whole.state_dict())
    steps(whole, build_optimiser(whole, settings, 0.01), 0, 5)

    before = build_optimiser(parted, settings, 0.01)
    steps(parted, before, 0, 3)
    stored = moments(before, trained(parted))
    after = build_optimiser(parted, settings, 0.01)
    load_moments(after, trained(parted), stored)
    steps(parted, after, 3, 5)
    assert all(torch.equal(value, parted.state_dict()[key]) for key, value in whole.state_dict().items())


def test_an_optimiser_that_starts_anew_goes_elsewhere() -> None:
    whole, parted = network(), network()
    parted.load_state_dict(whole.state_dict())
    steps(whole, build_optimiser(whole, Local(), 0.01), 0, 5)
    for first, last in ((0, 3), (3, 5)):
        steps(parted, build_optimiser(parted, Local(), 0.01), first, last)
    assert not torch.equal(whole[0].weight, parted[0].weight)


def test_moments_are_named_by_kind_and_parameter_and_are_copies() -> None:
    module = network()
    optimiser = build_optimiser(module, Local(), 0.01)
    assert moments(optimiser, trained(module)) == {}
    steps(module, optimiser, 0, 1)
    stored = moments(optimiser, trained(module))
    assert set(stored) == {f"{kind}:{name}" for kind in ("step", "exp_avg", "exp_avg_sq") for name in trained(module)}
    kept = stored["exp_avg:0.weight"].copy()
    steps(module, optimiser, 1, 2)
    assert stored["exp_avg:0.weight"].tobytes() == kept.tobytes()


def test_a_parameter_without_stored_moments_starts_anew() -> None:
    module = network()
    optimiser = build_optimiser(module, Local(), 0.01)
    steps(module, optimiser, 0, 1)
    stored = {key: array for key, array in moments(optimiser, trained(module)).items() if key.endswith(":0.weight")}
    fresh = build_optimiser(module, Local(), 0.01)
    load_moments(fresh, trained(module), stored)
    assert set(fresh.state) == {module[0].weight}


def test_named_parameters_have_a_rate_of_their_own() -> None:
    """A step of plain SGD moves a weight by rate times gradient, which is 1 here."""
    module = torch.nn.Linear(2, 2)
    settings = Local(optimiser="sgd", momentum=0.0)
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    optimiser = build_optimiser(module, settings, 0.1, {"bias": 5.0})
    for value in module.parameters():
        value.grad = torch.ones_like(value)
    optimiser.step()
    assert torch.allclose(before["weight"] - module.weight, torch.tensor(0.1))
    assert torch.allclose(before["bias"] - module.bias, torch.tensor(0.5))
