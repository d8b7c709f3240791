"""SimSiam's loss against loops, and its stopped gradient."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedmetric.objectives.base import Batch
from fedmetric.objectives.simsiam import SimSiam
from oracles.geometry import circle, cloud
from oracles.retrieval import cosine


def bare(predictor: nn.Module | None = None) -> SimSiam:
    objective = SimSiam(5, hidden_dim=4, predictor_dim=2, output_dim=3)
    objective.projector, objective.predictor = nn.Identity(), predictor or nn.Identity()
    return objective


def test_the_loss_is_that_of_the_loops() -> None:
    torch.manual_seed(1)
    predictor = nn.Linear(5, 5)
    first, second = cloud(6, 5, 1), cloud(6, 5, 2)
    one, two = predictor(first).tolist(), predictor(second).tolist()
    pairs = [*zip(one, second.tolist(), strict=True), *zip(two, first.tolist(), strict=True)]
    expected = -sum(cosine(a, b) for a, b in pairs) / 12
    assert bare(predictor)(nn.Identity(), Batch((first, second))).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("angle", "expected"), [(0, -1.0), (60, -0.5), (90, 0.0), (180, 1.0)])
def test_the_loss_of_views_at_an_angle_is_minus_its_cosine(angle: float, expected: float) -> None:
    loss = bare()(nn.Identity(), Batch((circle(10, 50), circle(10 + angle, 50 + angle))))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_the_gradient_is_stopped_on_the_side_that_is_predicted() -> None:
    """Without a predictor both directions are -cos / 2, and each view gets the gradient of one of them only."""
    first, second = cloud(4, 5, 1).requires_grad_(), cloud(4, 5, 2).requires_grad_()
    bare()(nn.Identity(), Batch((first, second))).backward()
    for view, other in ((first, second), (second, first)):
        alone = view.detach().clone().requires_grad_()
        (-0.5 * torch.cosine_similarity(alone, other.detach())).mean().backward()
        assert view.grad is not None
        assert alone.grad is not None
        assert torch.allclose(view.grad, alone.grad, atol=1e-7)


def test_the_predictor_is_a_bottleneck_of_the_given_width() -> None:
    objective = SimSiam(6, hidden_dim=5, predictor_dim=2, output_dim=4)
    widths = [layer.out_features for layer in objective.predictor.modules() if isinstance(layer, nn.Linear)]
    assert widths == [2, 4]
