"""Terms on the backbone's embeddings that any objective may be given: their length, and how evenly they spread.

Zhang, Yu, Kumar, Chang, Learning Spread-out Local Feature Descriptors, ICCV 2017: two descriptors that do not match
should be as two random points of the unit sphere are, whose inner product has mean 0 and mean square 1/D.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fedmetric.config.experiment import Local
from fedmetric.federation.base import LocalRound
from fedmetric.objectives.base import Batch


def regularisation(settings: Local, now: LocalRound) -> Tensor | None:
    """Return the weighted terms of the current step, a scalar; None if both weights are 0 or nothing was embedded."""
    if not now.representations or not (settings.embedding_norm or settings.spread_out):
        return None
    assert now.batch is not None
    embeddings = torch.cat([found.flatten(1) for found in now.representations]).float()
    total = settings.embedding_norm * mean_square_length(embeddings)
    if settings.spread_out:
        things = torch.cat([things_of(given, now.batch) for given in now.inputs])
        total = total + settings.spread_out * spread_out(embeddings, things)
    return total


def mean_square_length(embeddings: Tensor) -> Tensor:
    """Return the mean of |x|^2 over (N, D) float rows."""
    return embeddings.square().sum(dim=1).mean()


def spread_out(embeddings: Tensor, things: Tensor) -> Tensor:
    """Return M1^2 + max(0, M2 - 1/D) with the mean and the mean square of the cosines of pairs that do not match.

    Args:
        embeddings: (N, D) float of any length but 0.
        things: (N,) int64; rows with the same number match.

    Returns:
        A scalar; 0 where all rows match.
    """
    unit = functional.normalize(embeddings, dim=1)
    cosines = (unit @ unit.T)[things.unsqueeze(1) != things]
    if len(cosines) == 0:
        return (embeddings * 0).sum()
    return cosines.mean().square() + functional.relu(cosines.square().mean() - 1 / embeddings.shape[1])


def things_of(inputs: Tensor, batch: Batch) -> Tensor:
    """Say what each row of one pass through the backbone shows: its class, or an image of no known class.

    Objectives pass one view or several at once, of all images or of the labelled ones.

    Args:
        inputs: (N, C, H, W) float, what went into the backbone.
        batch: of the step, B images.

    Returns:
        (N,) int64: a label, or -1 - b for image b without one. Rows that are no whole number of views stand alone.
    """
    count = len(batch.views[0])
    alone = -1 - torch.arange(count, device=inputs.device)
    things = alone if batch.labels is None else torch.where(batch.labels >= 0, batch.labels, alone)
    if batch.labels is not None and not any(torch.equal(inputs[:count], view) for view in batch.views):
        things = things[batch.labels >= 0]
    if len(things) == 0 or len(inputs) % len(things):
        return -1 - torch.arange(len(inputs), device=inputs.device)
    return things.repeat(len(inputs) // len(things))
