"""Batches of views as a pure function of (seed, round, client, step)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from fedmetric.data.base import ImageSet
from fedmetric.objectives.base import Batch, Objective
from fedmetric.sampling.base import Sampler
from fedmetric.seeds import numpy_generator, torch_generator
from fedmetric.views.base import Views


def to_tensor(images: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """Turn (B, H, W, C) uint8 pixels into contiguous (B, C, H, W) float in [0, 1]."""
    pixels = torch.from_numpy(np.ascontiguousarray(images)).to(device)
    return pixels.permute(0, 3, 1, 2).contiguous().to(torch.float32).div_(255)


def batch_size_of(num_images: int, wanted: int) -> int:
    """Return the batch size of a client: the wanted one, or all its images when it has fewer."""
    return min(wanted, num_images)


def batches(
    images: ImageSet, objective: Objective, views: Views, sampler: Sampler, batch_size: int, epochs: int,
    seed: int, round: int, client: int,
    device: torch.device | str = "cpu",
) -> Iterator[Batch]:  # fmt: skip
    """Yield the batches of one client's round.

    Args:
        images: the client's images, at least one.
        objective: tells how many views it wants and whether it needs labels.
        views: draws the views.
        sampler: draws the images.
        batch_size: images in a batch; see `batch_size_of`.
        epochs: passes over as many images as the client holds.
        seed: the experiment's seed.
        round: server round from 1.
        client: index of the data partition.
        device: where the views are made.
    """
    size = batch_size_of(len(images), batch_size)
    step = 0
    for epoch in range(epochs):
        generator = numpy_generator(seed, "order", round=round, client=client, step=epoch)
        for drawn in sampler.epoch(images.labels, size, generator):
            chosen = np.sort(drawn)
            pixels = to_tensor(images.images[chosen], device)
            view_generator = torch_generator(seed, "views", round=round, client=client, step=step)
            labels = torch.from_numpy(images.labels[chosen]).to(device) if objective.needs_labels else None
            pixels, labels = views.prepare(pixels, labels, view_generator)
            seen = tuple(views(pixels, view_generator) for _ in range(objective.num_views))
            yield Batch(seen, labels)
            step += 1
