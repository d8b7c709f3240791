"""Batches in which only some images have a label."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedmetric.objectives.base import Batch


def keep_labelled(batch: Batch) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the views and labels of the images that have a label: those whose label is not -1."""
    assert batch.labels is not None, "an objective that needs labels is given them"
    rows = batch.labels >= 0
    return tuple(view[rows] for view in batch.views), batch.labels[rows]


def count_labelled(batch: Batch, min_classes: int = 0) -> int:
    """Count the images that have a label, or 0 where they are of fewer classes than `min_classes`."""
    assert batch.labels is not None, "an objective that needs labels is given them"
    labels = batch.labels[batch.labels >= 0]
    return len(labels) if len(torch.unique(labels)) >= min_classes else 0


def zero_of(*modules: nn.Module) -> Tensor:
    """Return a loss of 0 whose gradient is 0, not None, for every trainable weight of the modules."""
    weights = (weight for module in modules for weight in module.parameters() if weight.requires_grad)
    return sum((weight.float().sum() * 0 for weight in weights), torch.zeros(()))
