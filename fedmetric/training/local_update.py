"""The training loop: what one client does with its images in one round. There is no other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fedmetric.arrays import Arrays
from fedmetric.config import Experiment
from fedmetric.data.base import ImageSet
from fedmetric.errors import FedmetricError
from fedmetric.evaluation.diagnostics import view_diagnostics
from fedmetric.federation.base import FederationRule, LocalRound, Update
from fedmetric.federation.memory import ClientState
from fedmetric.layout import Routes
from fedmetric.models.embedder import Embedder
from fedmetric.objectives.base import PROXIES, Batch, Objective, TargetPolicy
from fedmetric.privacy.base import Mechanism
from fedmetric.privacy.schedule import Schedule
from fedmetric.sampling.base import Sampler
from fedmetric.seeds import derive_seed, torch_generator
from fedmetric.training.batches import batch_size_of, batches
from fedmetric.training.class_weights import class_weights
from fedmetric.training.optimiser import build_optimiser, learning_rate, load_moments, moments
from fedmetric.training.private_steps import private_gradients
from fedmetric.training.regularisers import regularisation
from fedmetric.views.base import Views


@dataclass(frozen=True)
class Trainer:
    """Everything that the local loop needs and that does not change between rounds.

    Attributes:
        experiment: the whole experiment.
        embedder: the network; its weights are replaced in every round.
        views: draws the views.
        sampler: draws the images of each batch.
        rule: the federation rule.
        routes: which tensors travel.
        target: what happens to the objective's momentum target between rounds; "" where there is none.
        initial: the tensors that a client keeps, as they are before its first participation.
        device: where to compute.
        public: (N, C, H, W) float, the images that everybody has; None under rules that need none.
        mechanism: what makes the training private.
        schedule: how often whose data is used; None where that does not matter.
    """

    experiment: Experiment
    embedder: Embedder
    views: Views
    sampler: Sampler
    rule: FederationRule
    routes: Routes
    target: TargetPolicy | str
    initial: Arrays
    device: torch.device
    public: Tensor | None = None
    mechanism: Mechanism = field(default_factory=Mechanism)
    schedule: Schedule | None = None


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
    trainer: Trainer, images: ImageSet, shared: Arrays, extra: Arrays, state: ClientState, round: int
) -> Update:
    """Train on one client's images for one round and return its update.

    Args:
        trainer: the network, the views and the rule; the network's weights are replaced.
        images: the client's images.
        shared: the server's weights, by name: those that go down.
        extra: the rule's broadcast.
        state: the client's own, changed in place; it names the client.
        round: server round from 1.

    Returns:
        The update, with metrics "loss" (mean over steps), "steps", "batch_size" and "images", and the diagnostics of
        the last step's views; without counts and metrics under a mechanism that hides them.

    Raises:
        FedmetricError: the client has no images, or the loss is not finite; training stops there.
        ConfigError: the objective cannot be trained on this client.
    """
    if len(images) == 0:
        raise FedmetricError("the client has no images")
    settings, embedder, rule = trainer.experiment.local, trainer.embedder, trainer.rule
    size = batch_size_of(len(images), settings.batch_size)
    embedder.objective.check_client(state.client, len(images), size)
    with one_thread(), torch.random.fork_rng():
        before = place_weights(trainer, shared, extra, state)
        embedder.to(trainer.device).train()
        if wants_meeting(embedder.objective, state.last_round, round):
            introduce(trainer, images, state.client)
        embedder.objective.begin_round(round)
        if settings.class_weights != "none" and embedder.objective.needs_classes:
            weights = class_weights(images.labels, settings.class_weights)
            embedder.objective.weigh(weights.repeat_interleave(trainer.views.num_variants).to(trainer.device))
        now = LocalRound(
            embedder, state.rule, extra,
            client=state.client, round=round, classes=class_names(trainer, images),
            received={name: torch.from_numpy(array.copy()).to(trainer.device) for name, array in shared.items()},
            parameters={name: value for name, value in embedder.named_parameters() if value.requires_grad},
            lr=learning_rate(settings, round, trainer.experiment.federation.rounds),
            num_steps=settings.epochs * (len(images) // size),
            public=trainer.public,
        )  # fmt: skip
        rule.start(now)
        loss = train(trainer, images, now, state, round)
        arrays, uploads = rule.send(before, embedder.arrays(trainer.routes.up), now)
        state.own = embedder.arrays(kept_names(trainer))
        state.last_round = round
        metrics = {"loss": loss, "steps": float(now.steps), "batch_size": float(size), "images": float(len(images))}
        if not trainer.mechanism.hides:
            metrics |= last_diagnostics(now, size)
    if now.examples == 0 and not trainer.mechanism.hides:
        raise FedmetricError("no batch of the client had images that the objective learns from; see its description")
    return trainer.mechanism.outgoing(Update(state.client, arrays, now.examples, uploads, metrics))


def last_diagnostics(now: LocalRound, size: int) -> dict[str, float]:
    """Measure what the backbone gave for the last batch; the alignment only where that was the two views themselves."""
    if not now.representations or now.batch is None:
        return {}
    found = view_diagnostics(torch.cat([output.detach().flatten(1) for output in now.representations]), size)
    if not torch.equal(torch.cat(now.inputs), torch.cat(now.batch.views)):
        found.pop("alignment", None)
    return found


def place_weights(trainer: Trainer, shared: Arrays, extra: Arrays, state: ClientState) -> Arrays:
    """Load a client's own tensors and the received ones; return what training starts from, by the names that go up."""
    embedder, routes = trainer.embedder, trainer.routes
    first = not state.last_round
    embedder.load(trainer.initial | state.own, routes.own, "the client's own state")
    embedder.load(trainer.rule.receive(shared, extra, state.rule), routes.down, "the server's weights")
    if trainer.target == "reset" or (trainer.target == "local" and first):
        embedder.objective.reset_target(embedder.backbone)
    return embedder.arrays(routes.up)


def wants_meeting(objective: Objective, last: int, round: int) -> bool:
    """Return whether a client takes part for the first time, or for the first time since its classes are trained on.

    Args:
        objective: of the client.
        last: the round in which it took part before; 0 for none.
        round: the round that begins.
    """
    return last == 0 or objective.class_rounds(last) == 0 < objective.class_rounds(round)


def introduce(trainer: Trainer, images: ImageSet, client: int) -> None:
    """Let the objective meet a client: its proxies begin where the network now is, if they begin as means."""
    settings, seed = trainer.experiment.local, trainer.experiment.seed
    first: Iterator[Batch] = iter(())
    if settings.proxy_init == "mean":
        first = batches(
            images, trainer.embedder.objective, trainer.views, trainer.sampler, settings.batch_size, 1,
            seed, 0, client, trainer.device,
        )  # fmt: skip
    generator = torch_generator(seed, "first meeting", client=client)
    trainer.embedder.objective.meet(client, trainer.embedder.backbone, first, generator)


def class_names(trainer: Trainer, images: ImageSet) -> tuple[str, ...]:
    """Name the classes that labels stand for once the views have been prepared, in order."""
    variants = trainer.views.num_variants
    return images.classes if variants == 1 else tuple(f"{c}#{v}" for c in images.classes for v in range(variants))


def rate_factors(trainer: Trainer, round: int) -> dict[str, float]:
    """Return what the learning rate is multiplied by: for proxies, and 0 for all else while they warm up."""
    settings, groups = trainer.experiment.local, trainer.embedder.layout.groups
    proxies = {name for name, group in groups.items() if group.rpartition(".")[2] == PROXIES}
    others = 0.0 if proxies and 0 < trainer.embedder.objective.class_rounds(round) <= settings.proxy_warmup else 1.0
    return {name: settings.proxy_lr if name in proxies else others for name in groups}


def kept_names(trainer: Trainer) -> list[str]:
    """List the tensors that a client stores after a round: a target that is reset anyway is not among them."""
    layout = trainer.embedder.layout
    return [name for name in trainer.routes.own if not (trainer.target == "reset" and name in layout.targets)]


def train(trainer: Trainer, images: ImageSet, now: LocalRound, state: ClientState, round: int) -> float:
    """Take the steps of one round and return the mean loss.

    Raises:
        FedmetricError: a loss is not finite.
    """
    experiment, embedder = trainer.experiment, trainer.embedder
    settings = experiment.local
    optimiser = build_optimiser(embedder, settings, now.lr, rate_factors(trainer, round))
    keeps_moments = settings.optimiser_state == "local"
    if keeps_moments:
        load_moments(optimiser, now.parameters, state.optimiser)
    total = 0.0
    for gradients in gradients_of(trainer, images, now):
        # dropout and its like draw from torch's own generator
        torch.manual_seed(derive_seed(experiment.seed, "layers", round=round, client=state.client, step=now.steps))
        optimiser.zero_grad(set_to_none=True)
        loss = gradients()
        trainer.rule.correct(now)
        optimiser.step()
        embedder.objective.after_step(embedder.backbone, round / max(1, experiment.federation.rounds))
        if not math.isfinite(loss) and trainer.mechanism.hides:
            break  # whether a client fails must not tell of its images; what it sends counts as no move
        if not math.isfinite(loss):
            raise FedmetricError(f"the loss is {loss} at step {now.steps + 1}; lower local.lr (now {now.lr:g})")
        total, now.steps = total + loss, now.steps + 1
    if keeps_moments:
        state.optimiser = moments(optimiser, now.parameters)
    return total / max(1, now.steps)


def gradients_of(trainer: Trainer, images: ImageSet, now: LocalRound) -> Iterator[Callable[[], float]]:
    """Yield, for each step, what leaves gradients at the parameters and returns the loss."""
    steps = trainer.mechanism.steps(trainer.schedule, len(images)) if trainer.schedule else None
    if steps is not None:
        yield from private_gradients(trainer, images, now, steps, lambda: step_loss(trainer, now))
        return
    settings, objective = trainer.experiment.local, trainer.embedder.objective
    for batch in batches(
        images, objective, trainer.views, trainer.sampler, settings.batch_size, settings.epochs,
        trainer.experiment.seed, now.round, now.client, trainer.device,
    ):  # fmt: skip
        now.batch = batch
        yield lambda: backward(step_loss(trainer, now))
        now.examples += objective.contributing(batch)


def backward(loss: Tensor) -> float:
    """Leave a scalar's gradients at the parameters and return its value."""
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def step_loss(trainer: Trainer, now: LocalRound) -> Tensor:
    """Return the objective's loss of the current batch, plus regularisers and the rule's penalty if there are any."""
    assert now.batch is not None
    with trainer.embedder.recorded() as passes:
        value = trainer.embedder.loss(now.batch)
    now.inputs = tuple(images for images, _ in passes)
    now.representations = tuple(output for _, output in passes)
    for term in (regularisation(trainer.experiment.local, now), trainer.rule.penalty(now)):
        value = value if term is None else value + term
    return value
