"""SupCon's loss against loops, and what it does with images that have no label."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from fedmetric.objectives.base import Batch
from fedmetric.objectives.supcon import SupCon
from oracles.contrastive import supervised
from oracles.geometry import circle, cloud
from oracles.ntxent import nt_xent


def loss_of(views: tuple[Tensor, ...], labels: list[int], temperature: float = 0.1) -> Tensor:
    objective = SupCon(views[0].shape[1], temperature=temperature, hidden_dim=4, output_dim=3)
    objective.projector = nn.Identity()
    loss: Tensor = objective(nn.Identity(), Batch(views, torch.tensor(labels)))
    return loss


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 2, 0], [3, 3, 3, 3, 3, 1], [0, 1, 2, 3, 4, 5]])
def test_the_loss_is_that_of_the_loops(labels: list[int], temperature: float) -> None:
    views = cloud(6, 4, 1), cloud(6, 4, 2)
    expected = supervised(torch.cat(views).tolist(), labels * 2, temperature)
    assert loss_of(views, labels, temperature).item() == pytest.approx(expected, abs=1e-4)


def test_with_a_class_for_every_image_it_is_nt_xent() -> None:
    views = cloud(6, 4, 1), cloud(6, 4, 2)
    expected = nt_xent(views[0].tolist(), views[1].tolist(), 0.1)
    assert loss_of(views, [0, 1, 2, 3, 4, 5]).item() == pytest.approx(expected, abs=1e-4)


def test_anchors_that_pay_nothing_count_in_the_mean() -> None:
    """Views at 0 and 0 of one class, at 40 and 120 degrees of another, T = 0.002: in float only the one at 40 pays.

    It pays (cos 40 - cos 80) / T + log 2, which is divided by all four anchors.
    """
    expected = ((math.cos(math.radians(40)) - math.cos(math.radians(80))) / 0.002 + math.log(2)) / 4
    assert loss_of((circle(0, 40), circle(0, 120)), [0, 1], 0.002).item() == pytest.approx(expected, rel=1e-4)


def test_classes_may_be_renamed() -> None:
    views = cloud(4, 4, 1), cloud(4, 4, 2)
    assert loss_of(views, [0, 0, 1, 1]).item() == pytest.approx(loss_of(views, [900, 900, 4, 4]).item(), abs=1e-6)


def test_images_without_a_label_are_left_out_of_the_batch() -> None:
    """Even the backbone does not see them, so they count in no norm layer."""
    torch.manual_seed(1)
    backbone, objective = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), SupCon(4, hidden_dim=6, output_dim=3)
    views, labels = (cloud(5, 3, 1), cloud(5, 3, 2)), torch.tensor([1, -1, 0, 1, -1])
    rows = labels >= 0
    kept = Batch(tuple(view[rows] for view in views), labels[rows])
    assert torch.equal(objective(backbone, Batch(views, labels)), objective(backbone, kept))


def test_a_batch_without_labels_gives_a_zero_that_reaches_every_weight() -> None:
    backbone, objective = nn.Linear(3, 4), SupCon(4, hidden_dim=6, output_dim=3)
    loss = objective(backbone, Batch((cloud(5, 3, 1), cloud(5, 3, 2)), torch.full((5,), -1)))
    loss.backward()
    assert loss.item() == 0
    grads = [weight.grad for weight in (*backbone.parameters(), *objective.parameters())]
    assert all(grad is not None and torch.equal(grad, torch.zeros_like(grad)) for grad in grads)


def test_one_class_alone_has_nothing_to_be_told_from_so_the_loss_is_zero() -> None:
    first = cloud(4, 4, 1).requires_grad_()
    loss = loss_of((first, cloud(4, 4, 2)), [2, 2, 2, 2])
    loss.backward()
    assert loss.item() == 0
    assert first.grad is not None
    assert torch.equal(first.grad, torch.zeros(4, 4))


def test_only_labelled_images_of_at_least_two_classes_count() -> None:
    """What a client is weighed by: 3 labelled of 4; none where all are of one class, since the loss is 0 then."""
    objective, images = SupCon(4), torch.zeros(4, 1, 2, 2)
    for labels, expected in (([0, 1, -1, 1], 3), ([2, 2, 2, -1], 0), ([-1, -1, -1, -1], 0)):
        assert objective.contributing(Batch((images, images), torch.tensor(labels))) == expected
