"""The one training loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from fedmetric.arrays import Arrays
from fedmetric.config import Experiment
from fedmetric.data.base import ImageSet
from fedmetric.errors import FedmetricError, ProtocolError
from fedmetric.federation.base import FederationRule, LocalRound, Memory, RuleContext, Update
from fedmetric.federation.fedprox import FedProx
from fedmetric.federation.memory import ClientState
from fedmetric.layout import routes
from fedmetric.models.embedder import build_embedder
from fedmetric.sampling.shuffled import Shuffled
from fedmetric.training.local_update import Trainer, local_update, one_thread
from fedmetric.views.batch import GlyphViews

Small = Callable[..., Experiment]
MakeImages = Callable[..., ImageSet]


def trainer_of(experiment: Experiment, rule: Callable[[RuleContext], FederationRule] = FederationRule) -> Trainer:
    embedder = build_embedder(experiment, 1)
    all_shared = routes(embedder.layout)
    return Trainer(
        experiment,
        embedder,
        GlyphViews(),
        Shuffled(),
        rule(RuleContext(embedder.layout)),
        all_shared,
        "",
        {},
        torch.device("cpu"),
    )


def train(trainer: Trainer, images: ImageSet, round: int = 1, memory: Memory | None = None) -> Update:
    shared = build_embedder(trainer.experiment, 1).shared()
    state = ClientState(0, rule={} if memory is None else memory)
    return local_update(trainer, images, shared, {}, state, round)


def same_bits(first: Arrays, second: Arrays) -> bool:
    return first.keys() == second.keys() and all(first[key].tobytes() == second[key].tobytes() for key in first)


class Recorded(FederationRule):
    """Notes what the loop hands to each half of the client's side."""

    def __init__(self, context: RuleContext) -> None:
        super().__init__(context)
        self.calls: list[str] = []
        self.steps, self.lr = 0, 0.0

    def receive(self, shared: Arrays, extra: Arrays, memory: Memory) -> Arrays:
        self.calls.append("receive")
        memory["visits"] = memory.get("visits", np.zeros(1)) + 1
        return shared

    def penalty(self, now: LocalRound) -> Tensor | None:
        self.calls.append("penalty")
        assert [tuple(found.shape) for found in now.representations] == [(8, 4)]
        return None

    def correct(self, now: LocalRound) -> None:
        self.calls.append("correct")
        assert all(parameter.grad is not None for parameter in now.parameters.values())
        assert set(now.parameters) <= set(now.received)

    def send(self, before: Arrays, after: Arrays, now: LocalRound) -> tuple[Arrays, Arrays]:
        self.calls.append("send")
        self.steps, self.lr = now.steps, now.lr
        return after, {"visits": now.memory["visits"].copy()}


def test_the_update_counts_steps_and_images_trained_on(small: Small, make_images: MakeImages) -> None:
    """Ten images in batches of four: two steps an epoch, three epochs, 24 images."""
    update = train(trainer_of(small("local.epochs=3")), make_images(10))
    assert update.num_examples == 24
    diagnostics = {"std", "rank", "uniformity", "alignment"}
    assert set(update.metrics) == {"loss", "steps", "batch_size", "images"} | diagnostics
    assert (update.metrics["steps"], update.metrics["batch_size"], update.metrics["images"]) == (6, 4, 10)
    assert update.metrics["loss"] > 0
    assert (update.client, update.extra) == (0, {})


def test_a_client_with_two_images_trains_on_both(small: Small, make_images: MakeImages) -> None:
    update = train(trainer_of(small()), make_images(2))
    assert (update.num_examples, update.metrics["batch_size"]) == (2, 2)


def test_training_changes_the_weights_and_not_the_servers(small: Small, make_images: MakeImages) -> None:
    trainer = trainer_of(small())
    shared = trainer.embedder.shared()
    kept = {name: array.copy() for name, array in shared.items()}
    update = local_update(trainer, make_images(10), shared, {}, ClientState(0), 1)
    assert same_bits(shared, kept)
    assert not same_bits(update.arrays, shared)
    assert update.arrays["backbone.block1.norm.num_batches_tracked"].item() == 2


def test_a_round_starts_from_the_servers_weights_whatever_the_network_held(
    small: Small, make_images: MakeImages
) -> None:
    trainer = trainer_of(small())
    first = train(trainer, make_images(10))
    second = train(trainer, make_images(10))
    assert same_bits(first.arrays, second.arrays)
    assert first.metrics == second.metrics


def test_two_sites_compute_the_same_bits(small: Small, make_images: MakeImages) -> None:
    torch.manual_seed(1)
    first = train(trainer_of(small("local.epochs=2")), make_images(9))
    torch.manual_seed(2)
    second = train(trainer_of(small("local.epochs=2")), make_images(9))
    assert same_bits(first.arrays, second.arrays)


def test_another_round_trains_on_other_views(small: Small, make_images: MakeImages) -> None:
    trainer = trainer_of(small("local.schedule=constant"))
    assert not same_bits(train(trainer, make_images(10), 1).arrays, train(trainer, make_images(10), 2).arrays)


def test_the_rule_is_called_around_every_step_and_its_memory_is_kept(small: Small, make_images: MakeImages) -> None:
    memory = {"visits": np.array([4.0])}
    trainer = trainer_of(small("local.lr=0.01"), Recorded)
    update = train(trainer, make_images(8), 3, memory)
    rule = trainer.rule
    assert isinstance(rule, Recorded)
    assert rule.calls == ["receive", "penalty", "correct", "penalty", "correct", "send"]
    assert memory["visits"].tolist() == update.extra["visits"].tolist() == [5.0]
    assert (rule.steps, rule.lr) == (2, pytest.approx(0.01 * 0.5))


def test_what_the_rule_receives_is_where_training_starts(small: Small, make_images: MakeImages) -> None:
    class Zeroed(FederationRule):
        def receive(self, shared: Arrays, extra: Arrays, memory: Memory) -> Arrays:
            return {name: np.zeros_like(array) for name, array in shared.items()}

        def send(self, before: Arrays, after: Arrays, now: LocalRound) -> tuple[Arrays, Arrays]:
            return before, {}

    update = train(trainer_of(small(), Zeroed), make_images(4))
    assert not any(array.any() for array in update.arrays.values())


def test_fedprox_without_mu_trains_as_fedavg_bit_for_bit(small: Small, make_images: MakeImages) -> None:
    plain, none, strong = (
        train(trainer_of(small("local.epochs=2", "local.optimiser=sgd"), rule), make_images(10)).arrays
        for rule in (FederationRule, partial(FedProx, mu=0.0), partial(FedProx, mu=10.0))
    )
    assert same_bits(plain, none)
    assert not same_bits(plain, strong)


def test_the_objective_is_told_the_progress_after_each_step(
    small: Small, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round 3 of 4 is three quarters of the way."""
    trainer, told = trainer_of(small()), []
    monkeypatch.setattr(trainer.embedder.objective, "after_step", lambda backbone, progress: told.append(progress))
    train(trainer, make_images(8), 3)
    assert told == [0.75, 0.75]


def test_a_client_without_images_is_an_error(small: Small, make_images: MakeImages) -> None:
    with pytest.raises(FedmetricError, match="the client has no images"):
        train(trainer_of(small()), make_images(0))


def test_a_loss_that_is_not_finite_stops_and_names_the_step_and_the_rate(
    small: Small, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(small("local.lr=0.25"))
    monkeypatch.setattr(type(trainer.embedder), "loss", lambda self, batch: self.backbone(batch.views[0]).sum() / 0)
    with pytest.raises(FedmetricError, match=r"the loss is (nan|inf) at step 1; lower local\.lr \(now 0\.25\)"):
        train(trainer, make_images(8))


def test_weights_of_another_network_are_refused(small: Small, make_images: MakeImages) -> None:
    wide = build_embedder(small("model.width=6"), 1).shared()
    with pytest.raises(ProtocolError, match="the server's weights: backbone.*, expected"):
        local_update(trainer_of(small()), make_images(8), wide, {}, ClientState(0), 1)


def test_one_thread_computes_and_the_number_is_restored(small: Small, make_images: MakeImages) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        train(trainer_of(small()), make_images(4))
        assert torch.get_num_threads() == 3
        with pytest.raises(ProtocolError):
            local_update(trainer_of(small()), make_images(4), {}, {}, ClientState(0), 1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_client_is_weighed_by_the_images_that_the_objective_learns_from(
    small: Small, make_images: MakeImages
) -> None:
    """Eight images in two batches of four; without the labels of half of them, SupCon learns from four."""
    images = make_images(8)
    half = ImageSet("half", images.images, np.where(np.arange(8) < 4, images.labels, -1), images.classes)
    trainer = trainer_of(small("objective=supcon", "local.batch_size=8"))
    assert train(trainer, images).num_examples == 8
    assert train(trainer, half).num_examples == 4


def test_a_client_that_nothing_is_learnt_from_fails_and_says_so(small: Small, make_images: MakeImages) -> None:
    images = make_images(8)
    bare = ImageSet("bare", images.images, np.full(8, -1, np.int64), images.classes)
    with pytest.raises(FedmetricError, match="no batch of the client had images that the objective learns from"):
        train(trainer_of(small("objective=supcon")), bare)
