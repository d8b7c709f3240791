"""Local steps under record-level privacy: whose gradients are clipped, and the noise that is added to their sum."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fedmetric.data.base import ImageSet
from fedmetric.errors import ConfigError
from fedmetric.federation.base import LocalRound
from fedmetric.objectives.base import Batch
from fedmetric.privacy.base import ClippedSteps
from fedmetric.privacy.randomness import private_generator
from fedmetric.training.batches import to_tensor

if TYPE_CHECKING:
    from fedmetric.training.local_update import Trainer

SEEDS = 2**62


def private_gradients(
    trainer: Trainer, images: ImageSet, now: LocalRound, steps: ClippedSteps, loss: Callable[[], Tensor]
) -> Iterator[Callable[[], float]]:
    """Yield, for each step of a round, what leaves clipped and noisy gradients at the parameters.

    Args:
        trainer: the network and the views.
        images: the client's.
        now: the round; `now.batch` is set to each portion in turn.
        steps: how they are made private.
        loss: of `now.batch`.
    """
    seed = trainer.experiment.seed
    for step in range(now.num_steps):
        choices = private_generator(seed, steps.seeded, f"private batch {step}", round=now.round, client=now.client)
        drawn = np.flatnonzero(choices.random(len(images)) < steps.rate)
        parts = portions(drawn, len(images), steps, choices)
        noise = private_generator(seed, steps.seeded, f"noise of step {step}", round=now.round, client=now.client)

        def gradients(parts: list[Portion] = parts, noise: np.random.Generator = noise) -> float:
            batches = ((batch_of(trainer, images, part, steps), part.seed) for part in parts)
            return noisy_sum(now, batches, loss, steps, steps.batch_size / steps.portion_size, noise)

        yield gradients
        now.examples += steps.batch_size  # on average: how many were drawn is nobody's business


@dataclass(frozen=True)
class Portion:
    """Images whose gradient is clipped together.

    Attributes:
        rows: indices of the images, at least one.
        seed: of everything random about them: views, public images beside them, dropout. It does not depend on what
            other portions there are, so that one image more or less changes no other portion.
    """

    rows: np.ndarray
    seed: int


def portions(drawn: np.ndarray, num_images: int, steps: ClippedSteps, choices: np.random.Generator) -> list[Portion]:
    """Divide a step's images into those whose gradients are clipped together.

    Args:
        drawn: (n,) indices of the images in the batch.
        num_images: that the client has.
        steps: how they are divided.
        choices: draws a seed for each image, or the group of each image by itself and a seed for each group.
    """
    if steps.clipping == "batch":
        seed = int(choices.integers(SEEDS))
        return [Portion(drawn, seed)] if len(drawn) else []
    if steps.clipping == "group":
        num_groups = max(1, round(steps.batch_size / steps.group_size))
        groups, seeds = choices.integers(num_groups, size=num_images)[drawn], choices.integers(SEEDS, size=num_groups)
        return [Portion(drawn[groups == group], int(seeds[group])) for group in np.unique(groups)]
    seeds = choices.integers(SEEDS, size=num_images)
    return [Portion(np.array([row]), int(seeds[row])) for row in drawn]


def batch_of(trainer: Trainer, images: ImageSet, part: Portion, steps: ClippedSteps) -> Batch:
    """Draw the views of a portion, with public images beside them where the mechanism wants them."""
    objective, generator = trainer.embedder.objective, torch.Generator().manual_seed(part.seed)
    pixels = to_tensor(images.images[part.rows], trainer.device)
    labels = torch.from_numpy(images.labels[part.rows]).to(trainer.device) if objective.needs_labels else None
    if steps.clipping == "public":
        assert trainer.public is not None
        count = min(steps.group_size, len(trainer.public))
        others = torch.randperm(len(trainer.public), generator=generator)[:count]
        pixels = torch.cat([pixels, trainer.public[others.to(trainer.device)]])
    pixels, labels = trainer.views.prepare(pixels, labels, generator)
    return Batch(tuple(trainer.views(pixels, generator) for _ in range(objective.num_views)), labels)


def noisy_sum(
    now: LocalRound,
    batches: Iterable[tuple[Batch, int]],
    loss: Callable[[], Tensor],
    steps: ClippedSteps,
    divisor: float,
    noise: np.random.Generator,
) -> float:
    """Clip the gradient of each portion, add them up, add noise, divide; return the mean loss of the portions.

    A portion that is too small for the loss, such as a lone image of a loss of pairs, and one whose gradient is not
    finite have none. Whether that is so depends on the portion alone, so the sensitivity stands; and no client fails
    because of what its images are.
    """
    parameters = list(now.parameters.values())
    clipper = clipper_of(parameters, steps)
    losses = []
    for batch, seed in batches:
        now.batch = batch
        torch.manual_seed(seed)
        for parameter in parameters:
            parameter.grad = None
        if len(batch.views[0]) >= now.network.objective.min_batch:
            value = loss()
            value.backward()  # type: ignore[no-untyped-call]
            losses.append(float(value.detach()))
        given = [torch.zeros_like(value) if value.grad is None else value.grad.detach() for value in parameters]
        finite = all(bool(torch.isfinite(gradient).all()) for gradient in given)
        for parameter, gradient in zip(parameters, given, strict=True):
            kept = gradient.clone() if finite else torch.zeros_like(gradient)
            parameter.grad_sample = kept.unsqueeze(0)  # type: ignore[attr-defined]
        clipper.clip_and_accumulate()
    deviation = steps.noise * steps.clip
    for parameter in parameters:
        total = getattr(parameter, "summed_grad", None)
        drawn = torch.from_numpy(noise.normal(0.0, deviation, tuple(parameter.shape))).to(parameter)
        parameter.grad = ((0.0 if total is None else total) + drawn) / divisor
        parameter.grad_sample = parameter.summed_grad = None  # type: ignore[attr-defined]
    finite_losses = [value for value in losses if np.isfinite(value)]
    return float(np.mean(finite_losses)) if finite_losses else 0.0


def clipper_of(parameters: list[Tensor], steps: ClippedSteps) -> Any:
    """Return Opacus' optimiser, which clips and adds up; it takes no step, and the noise is not its own.

    PyTorch's CPU generators keep 32 bits of a seed, so noise of theirs could be guessed; see `private_generator`.

    Raises:
        ConfigError: Opacus is not installed.
    """
    try:
        from opacus.optimizers import DPOptimizer
    except ImportError as error:
        raise ConfigError("privacy 'record-level' needs opacus; install fedmetric[dp]") from error
    return DPOptimizer(
        torch.optim.SGD(parameters, lr=0.0), noise_multiplier=steps.noise, max_grad_norm=steps.clip,
        expected_batch_size=steps.batch_size,
    )  # fmt: skip
