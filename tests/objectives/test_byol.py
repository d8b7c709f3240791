"""BYOL's loss against loops, and its target against the moving average taken by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fedmetric.objectives.base import Batch
from fedmetric.objectives.byol import BYOL
from oracles.geometry import circle, cloud
from oracles.retrieval import cosine


class Copy(nn.Module):
    """The identity as an operation, so that a gradient that should stop would pass through it."""

    def forward(self, images: Tensor) -> Tensor:
        return 1 * images


def bare(predictor: nn.Module | None = None) -> BYOL:
    """Return the objective without heads, whose target is the identity."""
    objective = BYOL(5, hidden_dim=4, output_dim=3)
    objective.projector, objective.predictor = nn.Identity(), predictor or nn.Identity()
    objective.attach(Copy())
    return objective


def test_the_loss_is_that_of_the_loops() -> None:
    """2 - 2 cos(h(f(x1)), f'(x2)) and the same with the views swapped, added up and averaged over images."""
    torch.manual_seed(1)
    predictor = nn.Linear(5, 5)
    first, second = cloud(6, 5, 1), cloud(6, 5, 2)
    one, two = predictor(first).tolist(), predictor(second).tolist()
    pairs = [*zip(one, second.tolist(), strict=True), *zip(two, first.tolist(), strict=True)]
    expected = sum(2 - 2 * cosine(a, b) for a, b in pairs) / 6
    assert bare(predictor)(nn.Identity(), Batch((first, second))).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("angle", "expected"), [(0, 0.0), (60, 2.0), (90, 4.0), (180, 8.0)])
def test_the_loss_of_views_at_an_angle(angle: float, expected: float) -> None:
    """Both directions give 2 - 2 cos: together 4 (1 - cos)."""
    loss = bare()(nn.Identity(), Batch((circle(10, 50), circle(10 + angle, 50 + angle))))
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_the_target_is_a_constant() -> None:
    """With the target's views held fixed the gradient of -cos appears once, not from both sides of the pair."""
    first, second = cloud(4, 5, 1).requires_grad_(), cloud(4, 5, 2).requires_grad_()
    bare()(nn.Identity(), Batch((first, second))).backward()
    for view, other in ((first, second), (second, first)):
        alone = view.detach().clone().requires_grad_()
        (2 - 2 * torch.cosine_similarity(alone, other.detach())).mean().backward()
        assert view.grad is not None
        assert alone.grad is not None
        assert torch.allclose(view.grad, alone.grad, atol=1e-6)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_one_step_moves_the_target_to_the_mean_taken_by_hand(momentum: float) -> None:
    torch.manual_seed(1)
    backbone = nn.Linear(3, 5)
    objective = BYOL(5, momentum=momentum, hidden_dim=4, output_dim=3)
    objective.attach(backbone)
    online = [*backbone.parameters(), *objective.projector.parameters()]
    before = [weight.clone() for weight in objective.target.parameters()]
    with torch.no_grad():
        for weight in online:
            weight.add_(torch.randn_like(weight))
    objective.after_step(backbone, 0.5)
    for was, now, weight in zip(before, objective.target.parameters(), online, strict=True):
        assert torch.allclose(now, momentum * was + (1 - momentum) * weight, atol=1e-6)


def test_the_target_normalises_with_its_own_batch_and_keeps_its_own_running_statistics() -> None:
    class Shift(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images + 3

    backbone = nn.Sequential(Shift(), nn.BatchNorm1d(3), nn.Linear(3, 5))
    objective = BYOL(5, hidden_dim=4, output_dim=3)
    objective.attach(backbone)
    objective.target(cloud(8, 3, 1))
    target = objective.target.layers.get_submodule("0.1")
    assert torch.equal(backbone.get_submodule("1").get_buffer("running_mean"), torch.zeros(3))
    assert torch.allclose(target.get_buffer("running_mean"), 0.1 * (cloud(8, 3, 1) + 3).mean(0), atol=1e-6)
