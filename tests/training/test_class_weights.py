"""Weights of rare and frequent classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedmetric.config import parse_experiment
from fedmetric.errors import ConfigError
from fedmetric.objectives.base import Batch, build_objective
from fedmetric.registry import objectives
from fedmetric.training.class_weights import class_weights
from oracles.geometry import cloud

LABELS = np.array([0] * 6 + [1] * 3 + [2] + [-1] * 4)
ABLE = sorted(n for n, e in objectives.items() if e.traits.get("needs_classes") and e.traits.get("decomposable"))


def test_inverse_weights_make_every_class_weigh_the_same() -> None:
    """Ten images of three classes: each class weighs 10 / 3, each image of class 0 a sixth of that."""
    assert class_weights(LABELS, "inverse").tolist() == pytest.approx([10 / 18, 10 / 9, 10 / 3])


@pytest.mark.parametrize("kind", ["inverse", "effective"])
def test_images_weigh_one_on_average(kind: str) -> None:
    weights = class_weights(LABELS, kind)  # type: ignore[arg-type]
    assert float(weights[LABELS[LABELS >= 0]].mean()) == pytest.approx(1, abs=1e-6)
    assert weights[2] > weights[1] > weights[0]


def test_few_images_have_effective_numbers_near_their_numbers_and_many_saturate() -> None:
    few = class_weights(np.repeat([0, 1], [2, 4]), "effective")
    assert float(few[0] / few[1]) == pytest.approx(2, abs=0.01)
    many = class_weights(np.repeat([0, 1], [20000, 40000]), "effective")
    assert float(many[0] / many[1]) == pytest.approx(1, abs=1e-3)


def test_equal_classes_and_no_labels_weigh_one() -> None:
    assert class_weights(np.array([0, 1, 1, 0]), "inverse").tolist() == [1, 1]
    assert class_weights(np.array([-1, -1]), "inverse").tolist() == [1]


@pytest.mark.parametrize("name", ABLE)
def test_the_loss_is_the_weighted_mean_over_images(name: str) -> None:
    objective = build_objective(objectives[name].options(), 4, 3)
    objective.meet(0, nn.Identity(), (), torch.Generator().manual_seed(1))
    points, labels, weights = cloud(6, 4, 2), torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0.5, 1.0, 2.5])

    def loss(rows: list[int]) -> float:
        return float(objective(nn.Identity(), Batch((points[rows],), labels[rows])).detach())

    each = [loss([row]) for row in range(6)]
    assert loss([0, 1, 2, 3, 4, 5]) == pytest.approx(np.mean(each), rel=1e-5)
    objective.weigh(weights)
    expected = np.mean([float(weights[label]) * one for label, one in zip(labels.tolist(), each, strict=True)])
    assert loss([0, 1, 2, 3, 4, 5]) == pytest.approx(expected, rel=1e-5)


def test_objectives_that_compare_images_with_one_another_refuse_them() -> None:
    for name in ("simclr", "triplet", "proxy-anchor"):
        chosen = f'objective={{name="{name}"}}'
        with pytest.raises(ConfigError, match=f"class_weights weigh single images, and objective '{name}' compares"):
            parse_experiment("", "small", [chosen, "local.class_weights=inverse"])
    able = parse_experiment("", "small", ["objective=proxy-nca", "local.class_weights=inverse"])
    assert able.local.class_weights == "inverse"
