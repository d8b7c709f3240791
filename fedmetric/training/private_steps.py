"""Local steps under record-level privacy: whose gradients are clipped, and the noise that is added to their sum."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
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
from fedmetric.seeds import derive_seed, torch_generator
from fedmetric.training.batches import to_tensor

if TYPE_CHECKING:
    from fedmetric.training.local_update import Trainer


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
        rows = portions(drawn, len(images), steps, choices)
        noise = noise_generator(seed, steps, now, step, trainer.device)
        views = torch_generator(seed, "views", round=now.round, client=now.client, step=step)

        def gradients(rows: list[np.ndarray] = rows, noise: Any = noise, views: Any = views) -> float:
            batches = (batch_of(trainer, images, chosen, steps, views) for chosen in rows)
            divisor = steps.batch_size / portion_size(steps)
            return noisy_sum(now, batches, loss, steps, divisor, noise)

        yield gradients
        now.examples += len(drawn)


def portion_size(steps: ClippedSteps) -> float:
    """Return the images whose gradient is clipped together, on average; public ones are not counted."""
    return {"group": float(steps.group_size), "batch": float(steps.batch_size)}.get(steps.clipping, 1.0)


def portions(drawn: np.ndarray, num_images: int, steps: ClippedSteps, choices: np.random.Generator) -> list[np.ndarray]:
    """Divide a step's images into those whose gradients are clipped together.

    Args:
        drawn: (n,) indices of the images in the batch.
        num_images: that the client has.
        steps: how they are divided.
        choices: draws the group of each image by itself: one image more or less changes no other's group.

    Returns:
        Arrays of indices, none empty.
    """
    if steps.clipping == "batch":
        return [drawn] if len(drawn) else []
    if steps.clipping == "group":
        groups = choices.integers(max(1, round(steps.batch_size / steps.group_size)), size=num_images)[drawn]
        return [drawn[groups == group] for group in np.unique(groups)]
    return [drawn[place : place + 1] for place in range(len(drawn))]


def batch_of(
    trainer: Trainer, images: ImageSet, chosen: np.ndarray, steps: ClippedSteps, generator: torch.Generator
) -> Batch:
    """Draw the views of a portion, with public images beside them where the mechanism wants them."""
    objective = trainer.embedder.objective
    pixels = to_tensor(images.images[chosen], trainer.device)
    labels = torch.from_numpy(images.labels[chosen]).to(trainer.device) if objective.needs_labels else None
    if steps.clipping == "public":
        assert trainer.public is not None
        count = min(steps.group_size, len(trainer.public))
        others = torch.randperm(len(trainer.public), generator=generator)[:count]
        pixels = torch.cat([pixels, trainer.public[others.to(trainer.device)]])
        if labels is not None:
            raise ConfigError("privacy.clipping = 'public' has no labels for public images; use an objective without")
    pixels, labels = trainer.views.prepare(pixels, labels, generator)
    return Batch(tuple(trainer.views(pixels, generator) for _ in range(objective.num_views)), labels)


def noisy_sum(
    now: LocalRound,
    batches: Iterator[Batch],
    loss: Callable[[], Tensor],
    steps: ClippedSteps,
    divisor: float,
    noise: torch.Generator,
) -> float:
    """Clip the gradient of each portion, add them up, add noise, divide; return the mean loss of the portions.

    A portion that is too small for the loss, such as a lone image of a loss of pairs, has no gradient. Whether it is
    depends on the portion alone, so the sensitivity stands.
    """
    parameters = list(now.parameters.values())
    clipper = clipper_of(parameters, steps, noise)
    losses = []
    for batch in batches:
        now.batch = batch
        smallest = now.network.objective.min_batch
        for parameter in parameters:
            parameter.grad = None
        if len(batch.views[0]) >= smallest:
            value = loss()
            value.backward()  # type: ignore[no-untyped-call]
            losses.append(float(value.detach()))
        for parameter in parameters:
            given = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad_sample = torch.nan_to_num(given.detach().clone()).unsqueeze(0)  # type: ignore[attr-defined]
        clipper.clip_and_accumulate()
    for parameter in parameters:
        if getattr(parameter, "summed_grad", None) is None:
            parameter.summed_grad = torch.zeros_like(parameter)  # type: ignore[attr-defined]
    clipper.add_noise()
    for parameter in parameters:
        assert parameter.grad is not None
        parameter.grad = parameter.grad / divisor
        parameter.grad_sample = parameter.summed_grad = None  # type: ignore[attr-defined]
    return float(np.mean(losses)) if losses else 0.0


def clipper_of(parameters: list[Tensor], steps: ClippedSteps, noise: torch.Generator) -> Any:
    """Return Opacus' optimiser, of which clipping and noise are used and the step is not.

    Raises:
        ConfigError: Opacus is not installed.
    """
    try:
        from opacus.optimizers import DPOptimizer
    except ImportError as error:
        raise ConfigError("privacy 'record-level' needs opacus; install fedmetric[dp]") from error
    return DPOptimizer(
        torch.optim.SGD(parameters, lr=0.0), noise_multiplier=steps.noise, max_grad_norm=steps.clip,
        expected_batch_size=steps.batch_size, generator=noise,
    )  # fmt: skip


def noise_generator(
    seed: int, steps: ClippedSteps, now: LocalRound, step: int, device: torch.device
) -> torch.Generator:
    """Return the generator of a step's noise: a fresh secret, unless seeded."""
    drawn = secrets.randbits(63)
    if steps.seeded:
        drawn = derive_seed(seed, "noise of a step", round=now.round, client=now.client, step=step)
    return torch.Generator(device).manual_seed(drawn)
