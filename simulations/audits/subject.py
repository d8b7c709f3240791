"""The run under attack, and encoders to compare its own with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fedmetric.arrays import Arrays, load_arrays
from fedmetric.config import Experiment
from fedmetric.data.audit_pool import AuditPool
from fedmetric.data.base import ImageSet
from fedmetric.errors import UsageError
from fedmetric.export import load_model
from fedmetric.federation.memory import ClientState
from fedmetric.models.embedder import Embedder, build_embedder
from fedmetric.report.privacy import spending_of
from fedmetric.runs import WEIGHTS, RunFolder
from fedmetric.seeds import numpy_generator
from fedmetric.training.batches import to_tensor
from fedmetric.training.local_update import local_update
from fedmetric.training.site import Site, compute_device

Embed = Callable[[Tensor], Tensor]
MOST = 2000
"""Images of a kind that an attack looks at: more would make its interval no narrower than matters."""


class OneClient(Site):
    """A site whose only client holds chosen images."""

    def __init__(self, experiment: Experiment, rows: NDArray[np.int64]) -> None:
        """Choose the images.

        Args:
            experiment: without an audit of its own.
            rows: indices into the training images.
        """
        super().__init__(experiment)
        self._rows = rows

    @cached_property
    def parts(self) -> list[NDArray[np.int64]]:
        """The chosen images."""
        return [self._rows]


class Instances(OneClient):
    """A site whose only client holds chosen images, each a class of its own."""

    @cached_property
    def training_images(self) -> ImageSet:
        """The chosen images, numbered."""
        chosen = Site(self.experiment).training_images.subset(self._rows)
        names = tuple(f"image {number}" for number in range(len(chosen)))
        return ImageSet(chosen.name, chosen.images, np.arange(len(chosen)), names)

    @cached_property
    def parts(self) -> list[NDArray[np.int64]]:
        """All of them."""
        return [np.arange(len(self._rows))]


class Subject:
    """A finished run."""

    def __init__(self, folder: Path) -> None:
        """Open a run.

        Raises:
            UsageError: it is no run, or has not ended with a model.
        """
        self.run = RunFolder.open(folder)
        if not (self.run.model / WEIGHTS).is_file():
            raise UsageError(f"{folder} has no trained model yet; an audit needs a run that has ended")
        self.experiment = self.run.experiment
        self.site = Site(self.experiment)
        self.device = compute_device()

    @cached_property
    def model(self) -> Embedder:
        """The trained network."""
        return load_model(self.run.model).embedder.to(self.device)

    @cached_property
    def weights(self) -> Arrays:
        """The final weights of the server."""
        return load_arrays(self.run.model / WEIGHTS)

    def untrained(self, number: int = 0) -> Embedder:
        """Build a network of the same kind with initial weights of its own."""
        seed = self.experiment.seed + 1000 + number
        return build_embedder(self.experiment, self.site.dataset.train.channels, init_seed=seed).to(self.device)

    @cached_property
    def spending(self) -> dict[str, Any]:
        """What the run claims and has spent; empty without a claim."""
        return spending_of(self.run)

    @cached_property
    def pool(self) -> AuditPool:
        """The images that were set aside.

        Raises:
            UsageError: none were.
        """
        if not self.experiment.audit_share:
            raise UsageError(
                "the run set no images aside to compare with: run it with audit_share above 0, for example 0.5"
            )
        return self.site.audit_pool

    def rows(self, included: bool, most: int = MOST) -> NDArray[np.int64]:
        """Return indices of images that were trained on, or that could as well have been; at most so many, shuffled."""
        rows = self.pool.rows[self.pool.included == included]
        generator = numpy_generator(self.experiment.seed, f"images under attack, {included}")
        return np.asarray(generator.permutation(rows)[:most])

    def pixels(self, rows: NDArray[np.int64]) -> Tensor:
        """Return training images, (N, C, H, W) float."""
        return to_tensor(self.site.training_images.images[rows], self.device)

    def trained_on(self, rows: NDArray[np.int64], passes: int) -> Embedder:
        """Train a network of the same kind at one place as the run did, but without any privacy.

        Args:
            rows: the images.
            passes: over them.
        """
        return trained(OneClient(without_privacy(self.experiment, passes), rows), passes)

    def overfitted_to(self, rows: NDArray[np.int64], passes: int, lr: float) -> Embedder:
        """Train the same backbone to tell every single image from all others, which it can only do by heart.

        Args:
            rows: the images.
            passes: over them.
            lr: learning rate.
        """
        plain = without_privacy(self.experiment, passes, {"lr": lr, "batch_size": 64})
        experiment = Experiment.model_validate({**plain.resolved(), "objective": {"name": "arcface"}})
        return trained(Instances(experiment, rows), passes)


def trained(site: Site, passes: int) -> Embedder:
    """Train a site's only client."""
    shared, state, images = site.beginning(), ClientState(0), site.images_of(0)
    trainer = site.trainer_of(0)
    for round in range(1, passes + 1):
        update = local_update(trainer, images, {n: shared[n] for n in trainer.routes.down}, {}, state, round)
        shared = {**shared, **update.arrays}
    return trainer.embedder


def without_privacy(experiment: Experiment, rounds: int, local: Mapping[str, Any] | None = None) -> Experiment:
    """Return the experiment at one place, with the plain mean and no mechanism."""
    plain = experiment.resolved()
    plain["federation"] |= {"rounds": rounds, "clients_per_round": 0, "rule": {"name": "fedavg"}, "sampling": "uniform"}
    plain["federation"] |= {"secure": {**plain["federation"].get("secure", {}), "on": False}}
    plain["privacy"] = {"name": "none"}
    plain["local"] |= {"epochs": 1, "proxy_warmup": 0, "warmup_rounds": 0, "sampler": {"name": "shuffled"}}
    plain["local"] |= local or {}
    return Experiment.model_validate({**plain, "audit_share": 0.0, "labelled_clients": 1.0})
