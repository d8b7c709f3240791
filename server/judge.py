"""The central evaluator of a run: the trained network beside the pixels and the untrained network, by the same code."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _NormBase

from fedmetric.arrays import Arrays
from fedmetric.config import Experiment
from fedmetric.data.base import check_unseen, class_hash
from fedmetric.evaluation.base import Score, Scores
from fedmetric.evaluation.diagnostics import diagnostics, scaled_deviation
from fedmetric.evaluation.encoders import pixels
from fedmetric.evaluation.evaluator import Evaluator
from fedmetric.federation.memory import ClientState
from fedmetric.models.embedder import Embedder, build_embedder
from fedmetric.seeds import numpy_generator
from fedmetric.training.batches import to_tensor
from fedmetric.training.site import Site, compute_device

INSPECTED = 256


class Judge:
    """Measure weights on the classes of an experiment that nobody trains on."""

    def __init__(self, site: Site) -> None:
        self.site = site
        seen = {*site.training_images.present_classes(), *site.public_images.present_classes()}
        experiment = site.experiment
        before = site.trained_before or ()
        check_unseen(before, site.evaluation_images.present_classes(), "start.weights")
        own = [class_hash(name) for name in sorted(seen)]
        self.class_hashes = tuple(dict.fromkeys([*own, *before]))
        self._evaluator = Evaluator(
            site.evaluation_images,
            experiment.evaluation,
            experiment.seed,
            trained_hashes=self.class_hashes,
            device=compute_device(),
        )
        self._embedder = self._new(experiment)

    def _new(self, experiment: Experiment) -> Embedder:
        return build_embedder(experiment, self.site.dataset.train.channels).to(compute_device())

    def _load(self, shared: Arrays) -> None:
        self._embedder.load(shared, self.site.trainer.routes.server, "weights to be measured")

    def measure(self, shared: Arrays, full: bool) -> tuple[Scores, Scores]:
        """Measure weights: scores of `Evaluator.score`, and diagnostics of the embedding space.

        Args:
            shared: the weights.
            full: whether to do the slow tasks too.
        """
        self._load(shared)
        return self._measured(full, self.site.trainer.routes.server)

    def _measured(self, full: bool, held: Collection[str]) -> tuple[Scores, Scores]:
        embeddings, distance = self._evaluator.embed(self._embedder.embed), self._embedder.metric(held)
        scores = self._evaluator.score(embeddings, full=full, distance=distance)
        return scores, self._evaluator.diagnose(embeddings)

    def measure_clients(self, memories: Mapping[int, Arrays], full: bool) -> dict[int, Scores]:
        """Measure every client's own network, of a rule that shares nothing.

        Args:
            memories: each client's state, as `ClientState.to_arrays` wrote it.
            full: whether to do the slow tasks too.
        """
        found = {}
        for client, arrays in sorted(memories.items()):
            own = ClientState.from_arrays(arrays, client).own
            # what is private does not take part in embedding, and a client's rows for its classes are its own in number
            private = self._embedder.layout.of(*self._embedder.layout.private)
            names = [name for name in self.site.trainer.routes.own if name not in private]
            found_here = self.site.trainer.initial | own
            self._embedder.load({name: found_here[name] for name in names}, names, f"client {client}")
            found[client] = self._measured(full, names)[0]
        return found

    @cached_property
    def _inspected(self) -> tuple[Tensor, np.ndarray]:
        images = self.site.evaluation_images
        count = min(INSPECTED, len(images))
        drawn = numpy_generator(self.site.experiment.seed, "inspected").choice(len(images), count, replace=False)
        rows = np.sort(drawn)
        return to_tensor(images.images[rows], compute_device()), images.labels[rows]

    def inspect(self, shared: Arrays) -> dict[str, float]:
        """Return the diagnostics of weights on 256 unseen images at most; cheap enough for every round.

        Returns:
            "std", "rank", "uniformity" and "alignment" (over pairs of one class) in eval mode; "batch_std" with the
            batch's own statistics in the norm layers; "norm_gap", 1 minus the mean cosine between the two modes;
            "batches", which the running statistics have seen.
        """
        self._load(shared)
        layers = self._embedder.backbone.modules()
        seen = [layer.num_batches_tracked for layer in layers if isinstance(layer, _NormBase)]
        batches = [int(count) for count in seen if count is not None]
        return self._inspect() | ({"batches": float(max(batches))} if batches else {})

    def _inspect(self) -> dict[str, float]:
        images, labels = self._inspected
        if len(images) < 2:
            return {}
        embeddings = self._embedder.embed(images).cpu()
        alive = embeddings.norm(dim=1) > 0
        if not bool(torch.isfinite(embeddings).all()) or int(alive.sum()) < 2:
            return {"std": 0.0}  # dead or diverged: nothing is told apart
        scores = diagnostics(embeddings[alive], labels[alive.numpy()], seed=self.site.experiment.seed)
        found = {name: score.mean for name, score in scores.items() if score.mean is not None}
        found["rank"] = found.pop("effective_rank")
        self._embedder.train()
        with (
            torch.no_grad(),
            torch.random.fork_rng(),
        ):  # running statistics change here; every use of this network loads its weights first
            batch = functional.normalize(self._embedder.backbone(images).flatten(1).float(), dim=1).cpu()
        found["batch_std"] = scaled_deviation(batch)
        found["norm_gap"] = 1.0 - float((batch * embeddings).sum(dim=1).mean())
        return found

    @cached_property
    def untrained(self) -> dict[str, float]:
        """The diagnostics of the untrained network."""
        fresh = self._new(self.site.experiment)
        self._embedder.load(fresh.arrays(list(fresh.layout.groups)), list(fresh.layout.groups), "the untrained network")
        return self._inspect()

    @cached_property
    def baselines(self) -> dict[str, Scores]:
        """The rows "pixels" and "random", measured once."""
        untrained = self._new(self.site.experiment)
        rows, distances = {"pixels": pixels, "random": untrained.embed}, {"random": untrained.metric()}
        if self.site.experiment.start.weights:
            started = self._new(self.site.experiment)
            backbone = started.layout.of("backbone")
            started.load(self.site.starting(backbone, started), backbone, "start.weights")
            rows["start"], distances["start"] = started.embed, started.metric()
        return dict(self._evaluator.evaluate_rows(rows, distances))


def mean_of_clients(clients: Mapping[int, Scores]) -> dict[str, Score]:
    """Summarise the clients' scores: the mean over clients, its interval over clients, and the number of clients."""
    names = next(iter(clients.values()), {})
    values = {name: [scores[name].mean for scores in clients.values()] for name in names}
    return {
        name: Score.of(np.array([value for value in column if value is not None], dtype=np.float64))
        for name, column in values.items()
    }
