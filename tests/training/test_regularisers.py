"""Terms on the embeddings against loops, and where they enter the loss of a step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from fedmetric.arrays import Arrays
from fedmetric.config import Experiment, parse_experiment
from fedmetric.data.base import ImageSet
from fedmetric.errors import ConfigError
from fedmetric.federation.memory import ClientState
from fedmetric.objectives.base import Batch
from fedmetric.training.local_update import local_update
from fedmetric.training.regularisers import mean_square_length, spread_out, things_of
from fedmetric.training.site import Site
from oracles.geometry import circle, cloud
from oracles.retrieval import cosine
from tiny import tiny

Small = Callable[..., Experiment]
MakeImages = Callable[..., ImageSet]


@pytest.mark.parametrize("things", [[0, 0, 1, 1, 2, 2], [7, 3, 5, 7, 3, 3], [2**24, 2**24 + 1, 2**24, -1, -2, -3]])
@pytest.mark.parametrize("dim", [2, 5, 30])
def test_the_spread_is_that_of_the_loops(things: list[int], dim: int) -> None:
    points = cloud(6, dim, 1).double()
    rows = points.tolist()
    pairs = [cosine(rows[i], rows[j]) for i in range(6) for j in range(6) if things[i] != things[j]]
    mean, square = sum(pairs) / len(pairs), sum(c * c for c in pairs) / len(pairs)
    expected = mean**2 + max(0.0, square - 1 / dim)
    assert spread_out(points, torch.tensor(things)).item() == pytest.approx(expected, abs=1e-9)


def test_four_corners_cost_little_and_a_collapse_costs_the_most() -> None:
    """From each corner of a square the cosines are 0, -1 and 0: mean -1/3, mean square 1/3, less than 1/2.

    All on one point the mean and the mean square are 1: 1 + (1 - 1/2).
    """
    apart = torch.arange(4)
    even = spread_out(torch.cat([circle(0, 90), circle(180, 270)]), apart).item()
    assert even == pytest.approx(1 / 9, abs=1e-6)
    assert spread_out(circle(30, 30, 30, 30), apart).item() == pytest.approx(1.5, abs=1e-6)


def test_rows_that_all_match_have_no_spread_and_a_gradient_of_zero() -> None:
    points = cloud(4, 3, 1).requires_grad_()
    loss = spread_out(points, torch.zeros(4, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0
    assert points.grad is not None
    assert not points.grad.any()


def test_the_length_is_squared_and_averaged() -> None:
    """3-4-5 and 0-2: (25 + 4) / 2."""
    assert mean_square_length(torch.tensor([[3.0, 4.0], [0.0, 2.0]])).item() == 14.5


LABELS = torch.tensor([4, -1, 9, 4])
VIEWS = cloud(4, 3, 1).reshape(4, 1, 1, 3), cloud(4, 3, 2).reshape(4, 1, 1, 3)
KNOWN = LABELS >= 0


@pytest.mark.parametrize(
    ("inputs", "labels", "expected"),
    [
        (VIEWS[1], None, [-1, -2, -3, -4]),
        (torch.cat(VIEWS), None, [-1, -2, -3, -4] * 2),
        (VIEWS[1], LABELS, [4, -2, 9, 4]),
        (torch.cat(VIEWS), LABELS, [4, -2, 9, 4] * 2),
        (VIEWS[0][KNOWN], LABELS, [4, 9, 4]),
        (torch.cat([view[KNOWN] for view in VIEWS]), LABELS, [4, 9, 4] * 2),
        (torch.zeros(5, 1, 1, 3), None, [-1, -2, -3, -4, -5]),
        (torch.zeros(5, 1, 1, 3), torch.full((4,), -1), [-1, -2, -3, -4, -5]),
    ],
)
def test_rows_of_a_pass_are_matched_by_class_or_by_image(
    inputs: Tensor, labels: Tensor | None, expected: list[int]
) -> None:
    assert things_of(inputs, Batch(VIEWS, labels)).tolist() == expected


def test_two_views_of_half_the_images_are_not_taken_for_one_view_of_all() -> None:
    labels = torch.tensor([4, -1, 9, -1])
    inputs = torch.cat([view[labels >= 0] for view in VIEWS])
    assert things_of(inputs, Batch(VIEWS, labels)).tolist() == [4, 9, 4, 9]


def update(*overrides: str) -> tuple[float, Arrays]:
    """Train client 0 of the tiny federation for one round; return its loss and weights."""
    site = Site(tiny("local.epochs=1", "local.batch_size=512", *overrides))
    trainer = site.trainer
    shared = trainer.embedder.arrays(trainer.routes.down)
    found = local_update(trainer, site.images_of(0), shared, {}, ClientState(0), 1)
    return found.metrics["loss"], found.arrays


@pytest.mark.parametrize("objective", ["simclr", "triplet"])
def test_each_term_adds_to_the_loss_in_proportion_to_its_weight(objective: str) -> None:
    """One step from the same weights and views, so that the loss of the step is linear in the weights."""
    name = f"objective.name={objective}"
    plain, weights = update(name)
    for key in ("embedding_norm", "spread_out"):
        once, moved = update(name, f"local.{key}=0.5")
        twice, _ = update(name, f"local.{key}=1.0")
        assert once > plain
        assert twice - plain == pytest.approx(2 * (once - plain), rel=1e-4)
        assert any((moved[tensor] != weights[tensor]).any() for tensor in weights)


def test_without_weights_training_is_the_same_to_the_last_bit() -> None:
    first, second = update()[1], update("local.embedding_norm=0", "local.spread_out=0.0")[1]
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_a_negative_weight_is_refused() -> None:
    with pytest.raises(ConfigError, match="local.spread_out: Input should be greater than or equal to 0"):
        parse_experiment("[local]\nspread_out = -1")
