"""SimCLR's loss against NT-Xent written as loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor, nn

from fedmetric.objectives.base import Batch
from fedmetric.objectives.simclr import SimCLR
from oracles.ntxent import nt_xent


def bare(temperature: float = 0.5, dimension: int = 5) -> SimCLR:
    """Return the objective without its projector, so that the loss sees the views themselves."""
    objective = SimCLR(dimension, temperature=temperature, hidden_dim=4, output_dim=3)
    objective.projector = nn.Identity()
    return objective


def points(count: int = 6, dimension: int = 5, seed: int = 1) -> tuple[Tensor, Tensor]:
    first, second = torch.randn((2, count, dimension), generator=Generator().manual_seed(seed))
    return first, second


def loss_of(first: Tensor, second: Tensor, temperature: float = 0.5) -> float:
    return float(bare(temperature, first.shape[1])(nn.Identity(), Batch((first, second))))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_the_loss_is_that_of_the_loops(temperature: float, count: int) -> None:
    first, second = points(count)
    assert loss_of(first, second, temperature) == pytest.approx(
        nt_xent(first.tolist(), second.tolist(), temperature), abs=1e-5
    )


def test_two_images_at_right_angles() -> None:
    """Each point has one positive at cosine 1 and two negatives at cosine 0: with T = 1, -log(e / (e + 2))."""
    corners = torch.eye(2)
    assert loss_of(corners, corners, 1.0) == pytest.approx(-math.log(math.e / (math.e + 2)), abs=1e-6)
    assert nt_xent(corners.tolist(), corners.tolist(), 1.0) == pytest.approx(-math.log(math.e / (math.e + 2)))


def test_views_may_be_swapped() -> None:
    first, second = points()
    assert loss_of(first, second) == pytest.approx(loss_of(second, first), abs=1e-6)


def test_images_may_be_permuted() -> None:
    first, second = points()
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    assert loss_of(first[order], second[order]) == pytest.approx(loss_of(first, second), abs=1e-6)
    assert loss_of(first[order], second) != pytest.approx(loss_of(first, second), abs=1e-3)


def test_lengths_of_projections_do_not_matter() -> None:
    first, second = points()
    assert loss_of(first * 7, second * 0.1) == pytest.approx(loss_of(first, second), abs=1e-5)


def test_one_image_has_no_negatives_so_the_loss_is_zero_and_gradients_are_finite() -> None:
    first = torch.tensor([[1.0, 2.0]], requires_grad=True)
    loss = bare(dimension=2)(nn.Identity(), Batch((first, torch.tensor([[2.0, 1.0]]))))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert first.grad is not None
    assert torch.isfinite(first.grad).all()


def test_the_projector_has_the_widths_of_the_options() -> None:
    objective = SimCLR(6, hidden_dim=5, output_dim=4)
    assert objective.projector(torch.zeros(3, 6)).shape == (3, 4)
    assert [layer.out_features for layer in objective.projector.modules() if isinstance(layer, nn.Linear)] == [5, 4]


def test_both_views_pass_the_backbone_in_one_batch() -> None:
    """BatchNorm then sees both views of all images together."""
    sizes: list[int] = []

    class Counted(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            sizes.append(len(images))
            return images

    first, second = points()
    bare()(Counted(), Batch((first, second)))
    assert sizes == [12]
