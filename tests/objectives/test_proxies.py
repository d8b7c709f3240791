"""Proxy losses against loops, and what all of them do with rows, labels and clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Generator, Tensor, nn

from fedmetric.config import parse_experiment
from fedmetric.errors import ConfigError
from fedmetric.objectives.base import Batch, build_objective
from fedmetric.objectives.proxies import ProxyObjective
from fedmetric.registry import objectives
from oracles import proxies as oracle
from oracles.geometry import circle, cloud

LABELS = [0, 1, 2, 0, 1, 1]
LOSSES: list[tuple[str, dict[str, Any], Callable[..., float], tuple[float, ...]]] = [
    ("proxy-nca", {}, oracle.proxy_nca, (9.0,)),
    ("proxy-nca", {"scale": 3.0}, oracle.proxy_nca, (3.0,)),
    ("proxy-anchor", {}, oracle.proxy_anchor, (0.1, 32.0)),
    ("proxy-anchor", {"margin": 0.3, "scale": 8.0}, oracle.proxy_anchor, (0.3, 8.0)),
    ("soft-triple", {"centres": 3}, oracle.soft_triple, (20.0, 0.1, 0.01)),
    ("soft-triple", {"centres": 1}, oracle.soft_triple, (20.0, 0.1, 0.01)),
    ("arcface", {"margin": 10.0}, oracle.arcface, (10.0, 16.0)),
    ("arcface", {"margin": 10.0, "label_smoothing": 0.1}, oracle.arcface, (10.0, 16.0, 0.1)),
    ("cosface", {}, oracle.cosface, (0.35, 16.0)),
    ("cosface", {"label_smoothing": 0.2}, oracle.cosface, (0.35, 16.0, 0.2)),
    ("norm-softmax", {}, oracle.norm_softmax, (0.05,)),
    ("norm-softmax", {"label_smoothing": 0.3}, oracle.norm_softmax, (0.05, 0.3)),
    ("positive-cosine", {}, oracle.positive_cosine, (0.9,)),
]
NAMES = sorted({name for name, *_ in LOSSES})


def build(name: str, num_classes: int = 3, seed: int = 1, **options: object) -> ProxyObjective:
    objective = cast(ProxyObjective, build_objective(objectives[name].options(**options), 4, num_classes))
    objective.meet(0, nn.Identity(), (), Generator().manual_seed(seed))
    return objective


def loss_of(objective: ProxyObjective, points: Tensor, labels: list[int]) -> Tensor:
    loss: Tensor = objective(nn.Identity(), Batch((points,), torch.tensor(labels)))
    return loss


def test_all_proxy_objectives_are_tested_here() -> None:
    found = {name for name in objectives if isinstance(objectives[name].load(), type)
             and issubclass(cast(type, objectives[name].load()), ProxyObjective)}  # fmt: skip
    assert found == set(NAMES)


@pytest.mark.parametrize(("name", "options", "loops", "arguments"), LOSSES)
@pytest.mark.parametrize("labels", [LABELS, [2, 2, 2, 2, 2, 2]])
def test_the_loss_is_that_of_the_loops(
    name: str, options: dict[str, Any], loops: Callable[..., float], arguments: tuple[float, ...], labels: list[int]
) -> None:
    """In single precision as it is trained; in double precision, which only rounding tells apart, to 1e-6."""
    objective, points = build(name, **options), cloud(6, 4, 2)
    expected = loops(points.tolist(), labels, objective.rows().tolist(), *arguments)
    assert loss_of(objective, points, labels).item() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    exact = objective.double().proxies(points.double(), torch.tensor(labels))
    expected = loops(points.double().tolist(), labels, objective.rows().tolist(), *arguments)
    assert exact.item() == pytest.approx(expected, rel=0, abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_rows_that_are_placed_are_the_rows_that_are_read_and_used(name: str) -> None:
    first, second = build(name), build(name, seed=2)
    points = cloud(6, 4, 2)
    assert loss_of(first, points, LABELS).item() != pytest.approx(loss_of(second, points, LABELS).item(), abs=1e-6)
    second.place(first.rows())
    assert torch.equal(second.rows(), first.rows())
    assert torch.equal(loss_of(first, points, LABELS), loss_of(second, points, LABELS))


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_unit_vectors_that_differ_between_clients(name: str) -> None:
    rows = build(name).rows()
    assert rows.shape == (3, 10 if name == "soft-triple" else 1, 4)
    assert torch.allclose(rows.norm(dim=-1), torch.ones(rows.shape[:2]), atol=1e-6)
    assert not torch.equal(rows, build(name, seed=2).rows())


@pytest.mark.parametrize("name", NAMES)
def test_rows_can_start_as_the_mean_embedding_of_their_class(name: str) -> None:
    """Class 0 lies at 10 and 30 degrees, class 1 at 90; class 2 has no image and keeps its random direction."""
    objective = build(name, **({"centres": 2} if name == "soft-triple" else {}))
    points = torch.cat([circle(10, 30, 90), torch.zeros(3, 2)], dim=1)
    drawn = build(name, **({"centres": 2} if name == "soft-triple" else {})).rows()
    objective.meet(0, nn.Identity(), [Batch((points,), torch.tensor([0, 0, 1]))], Generator().manual_seed(1))
    rows = objective.rows()
    expected = torch.cat([circle(20, 90), torch.zeros(2, 2)], dim=1)
    if name == "soft-triple":
        assert (rows[0] @ expected[0] > 0.9).all()
        assert not torch.equal(rows[0, 0], rows[0, 1])
    else:
        assert torch.allclose(rows[:2, 0], expected, atol=1e-6)
    assert torch.equal(rows[2], drawn[2])


@pytest.mark.parametrize("name", NAMES)
def test_images_without_a_label_are_left_out(name: str) -> None:
    objective, points = build(name), cloud(6, 4, 2)
    some = loss_of(objective, points, [0, -1, 2, -1, 1, 1])
    assert torch.equal(some, loss_of(objective, points[[0, 2, 4, 5]], [0, 2, 1, 1]))
    none = Batch((points.requires_grad_(),), torch.full((6,), -1))
    loss = objective(nn.Linear(4, 4), none)
    loss.backward()
    assert loss.item() == 0
    assert objective.contributing(none) == 0
    assert objective.contributing(Batch((points,), torch.tensor([0, -1, 2, -1, 1, 1]))) == 4


@pytest.mark.parametrize("name", NAMES)
def test_a_client_with_one_class_is_refused_where_nothing_could_be_learnt(name: str) -> None:
    objective = build(name, num_classes=1)
    if name == "positive-cosine":
        objective.check_classes(3, 1)
        assert loss_of(objective, cloud(4, 4, 1), [0, 0, 0, 0]).item() > 0
        return
    objective.check_classes(3, 2)
    with pytest.raises(ConfigError, match="client 3 has 1 classes, .* objective 'positive-cosine' with"):
        objective.check_classes(3, 1)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"proxy-anchor"}))
def test_a_loss_that_is_called_decomposable_is_the_mean_of_the_losses_of_its_images(name: str) -> None:
    objective, points = build(name), cloud(6, 4, 2)
    assert objective.decomposable
    each = [loss_of(objective, points[i : i + 1], LABELS[i : i + 1]).item() for i in range(6)]
    assert loss_of(objective, points, LABELS).item() == pytest.approx(sum(each) / 6, rel=1e-5)


def test_the_largest_scale_of_proxy_nca_still_learns_from_an_image_on_the_wrong_proxy() -> None:
    """The image lies on the other class's proxy and opposite its own: squared distance 4, loss 4 times the scale."""
    largest = parse_experiment('objective = {name = "proxy-nca", scale = 20}').objective
    objective: ProxyObjective = objectives.build(largest, 2, 2)
    objective.place(torch.tensor([[[1.0, 0.0]], [[-1.0, 0.0]]]))
    image = torch.tensor([[-1.0, 1e-3]], requires_grad=True)
    value = objective.proxies(image, torch.tensor([0]))
    assert float(value) == pytest.approx(80.0, rel=1e-3)
    (gradient,) = torch.autograd.grad(value, image)
    assert float(gradient.abs().max()) > 0
    with pytest.raises(ConfigError, match="objective.scale: Input should be less than or equal to 20"):
        parse_experiment('objective = {name = "proxy-nca", scale = 30}')


def test_proxy_anchor_is_not_decomposable() -> None:
    objective, points = build("proxy-anchor"), cloud(6, 4, 2)
    each = [loss_of(objective, points[i : i + 1], LABELS[i : i + 1]).item() for i in range(6)]
    assert not objective.decomposable
    assert loss_of(objective, points, LABELS).item() != pytest.approx(sum(each) / 6, rel=1e-2)
