"""The training loop: what one client does with its images in one round. There is no other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from fedmetric.arrays import Arrays
from fedmetric.config import Experiment
from fedmetric.data.base import ImageSet
from fedmetric.errors import FedmetricError
from fedmetric.federation.base import FederationRule, Memory, Update
from fedmetric.models.embedder import Embedder
from fedmetric.seeds import derive_seed
from fedmetric.training.batches import batch_size_of, batches
from fedmetric.training.optimiser import build_optimiser, learning_rate
from fedmetric.views.base import Views

PRIVATE = "private."
"""Prefix in a client's memory of the weights that never leave it."""


@dataclass(frozen=True)
class Trainer:
    """Everything that the local loop needs and that does not change between rounds."""

    experiment: Experiment
    embedder: Embedder
    views: Views
    rule: FederationRule
    device: torch.device


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread: sums in another order would give other bits on machines with other core counts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def local_update(
    trainer: Trainer, images: ImageSet, shared: Arrays, extra: Arrays, memory: Memory, round: int, client: int
) -> Update:
    """Train on one client's images for one round and return its update.

    Args:
        trainer: the network, the views and the rule; the network's weights are replaced.
        images: the client's images.
        shared: the server's weights, by name.
        extra: the rule's broadcast.
        memory: the client's own state, changed in place.
        round: server round from 1.
        client: index of the data partition.

    Returns:
        The update, with metrics "loss" (mean over steps), "steps", "batch_size" and "images".

    Raises:
        FedmetricError: the client has no images, or the loss is not finite; training stops there.
    """
    if len(images) == 0:
        raise FedmetricError("the client has no images")
    settings, embedder, rule = trainer.experiment.local, trainer.embedder, trainer.rule
    lr = learning_rate(settings, round, trainer.experiment.federation.rounds)
    with one_thread(), torch.random.fork_rng():
        before = rule.receive(shared, extra, memory)
        embedder.load_shared(before)
        embedder.load_private(_own(memory) or embedder.initial_private)
        embedder.to(trainer.device).train()
        parameters = {name: value for name, value in embedder.named_parameters() if value.requires_grad}
        start = {name: torch.from_numpy(array.copy()).to(trainer.device) for name, array in shared.items()}
        optimiser = build_optimiser(embedder, settings, lr)
        total, steps = 0.0, 0
        for batch in batches(
            images, embedder.objective, trainer.views, settings.batch_size, settings.epochs,
            trainer.experiment.seed, round, client, trainer.device,
        ):  # fmt: skip
            # dropout and its like draw from torch's own generator
            torch.manual_seed(derive_seed(trainer.experiment.seed, "layers", round=round, client=client, step=steps))
            optimiser.zero_grad(set_to_none=True)
            loss = embedder.loss(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            rule.correct(parameters, start, memory)
            optimiser.step()
            embedder.objective.after_step(embedder.backbone, round / max(1, trainer.experiment.federation.rounds))
            value = float(loss.detach())
            if not math.isfinite(value):
                raise FedmetricError(f"the loss is {value} at step {steps + 1}; lower local.lr (now {lr:g})")
            total, steps = total + value, steps + 1
        memory |= {f"{PRIVATE}{name}": array for name, array in embedder.private().items()}
        arrays, uploads = rule.send(before, embedder.shared(), memory, steps, lr)
    size = batch_size_of(len(images), settings.batch_size)
    metrics = {"loss": total / steps, "steps": float(steps), "batch_size": float(size), "images": float(len(images))}
    return Update(client, arrays, steps * size, uploads, metrics)


def _own(memory: Memory) -> Arrays:
    return {name.removeprefix(PRIVATE): array for name, array in memory.items() if name.startswith(PRIVATE)}
