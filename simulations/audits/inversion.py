"""Inversion: images from embeddings, and from the update of a single step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from fedmetric.objectives.base import Batch
from fedmetric.privacy.audit.inversion import (
    Identification,
    fit_inverter,
    identification_rate,
    invert_update,
)
from fedmetric.seeds import torch_generator
from fedmetric.simulations.audits.finding import Finding
from fedmetric.simulations.audits.subject import Subject

PUBLIC, GALLERY = 1000, 200
PENALTY = 1.0
INVERTED, STEPS = 10, 200
"""Updates that are inverted, and steps of each."""


def embedding_inversion(subject: Subject) -> Iterator[Finding]:
    """Reconstruct images that were trained on from their embeddings; the map is learnt on others."""
    public, private = subject.pixels(subject.rows(False, PUBLIC)), subject.pixels(subject.rows(True, GALLERY))
    truth = np.arange(len(private))
    for name, network in (("trained", subject.model), ("untrained", subject.untrained())):
        invert = fit_inverter(network.embed(public), public, PENALTY)
        found = identification_rate(invert(network.embed(private)), private.double(), truth)
        yield finding_of("embedding inversion", name, found, f"linear map from {len(public)} images")


def update_inversion(subject: Subject) -> Iterator[Finding]:
    """Reconstruct images from the gradient that a client with one batch of them would send, as the server sees it.

    Under client-level privacy the server sees updates as they are; noise comes later. Secure aggregation and local
    noise are what stands between: their updates are not attacked here.
    """
    network = subject.model.train()
    objective = network.objective
    size = max(1, objective.min_batch)
    rows = subject.rows(True, GALLERY)
    images = subject.pixels(rows)
    labels = torch.zeros(size, dtype=torch.int64, device=images.device)
    parameters = [value for value in network.backbone.parameters() if value.requires_grad]

    def update_of(pixels: Tensor) -> Sequence[Tensor]:
        views = tuple(pixels.roll(shift, dims=-1) for shift in range(objective.num_views))
        loss = network.loss(Batch(views, labels if objective.needs_labels else None))
        return torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=False)

    found: list[Tensor] = []
    truth: list[int] = []
    for start in range(0, min(INVERTED, len(images) - size + 1), size):
        observed = [tensor.detach() for tensor in update_of(images[start : start + size])]
        generator = torch_generator(subject.experiment.seed, "start of an inversion", step=start)
        shape = (size, *images.shape[1:])
        found.append(invert_update(update_of, observed, shape, generator, steps=STEPS))
        truth += range(start, start + size)
    result = identification_rate(torch.cat(found), images, np.array(truth))
    network.eval()
    note = f"plain gradients of {size} images, {STEPS} steps, without augmentation: favours the attack"
    yield finding_of("update inversion", "trained", result, note)


def finding_of(attack: str, subject: str, found: Identification, note: str) -> Finding:
    """Return an identification rate as a finding."""
    return Finding(
        attack, subject, "identified", found.rate, found.low, found.high, found.chance, found.ceiling,
        found.num_queries, f"{note}; gallery of {found.num_gallery}",
    )  # fmt: skip
