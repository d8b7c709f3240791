"""Train one batch as the server asks, and say exactly what would leave; nothing does."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedmetric.clients.enrol import ask_known
from fedmetric.clients.limits import Limits, manifest_of
from fedmetric.clients.secure import would_be_masked
from fedmetric.config import Experiment, parse_experiment
from fedmetric.deployment.home import Home
from fedmetric.errors import FedmetricError
from fedmetric.federation.memory import ClientState
from fedmetric.training.apart import OwnFolder
from fedmetric.training.batches import batch_size_of
from fedmetric.training.local_update import local_update


@dataclass(frozen=True)
class DryRun:
    """What a round would do here.

    Attributes:
        rows: one for each tensor and metric that would leave; see `manifest_of`.
        images: that the site would train on.
        skipped: files that cannot be used.
        notes: what was understood of the folder.
        seconds: for one batch.
        memory: most that this process has used so far, in bytes.
    """

    rows: list[dict[str, Any]]
    images: int
    skipped: int
    notes: tuple[str, ...]
    seconds: float
    memory: int

    @property
    def bytes_up(self) -> int:
        """What a round would send, in bytes."""
        return sum(row["bytes"] for row in self.rows)


def asked_of(home: Home) -> tuple[Experiment, Mapping[str, Any]]:
    """Ask the server what it is running: the experiment, and the setting of the federation.

    Raises:
        FedmetricError: it runs nothing at the moment.
    """
    known = ask_known(home)
    if not known.get("experiment"):
        raise FedmetricError("the server runs nothing at the moment; give --experiment FILE to try one out")
    return parse_experiment(known["experiment"], "the server's experiment"), known.get("setting") or {}


def dry_run(home: Home, experiment: Experiment, setting: Mapping[str, Any]) -> DryRun:
    """Train one batch on the site's images from the first weights.

    Args:
        home: the site.
        experiment: what would be trained.
        setting: "clients", "channels" and "evaluated"; see `fedmetric.wire.Setting`.

    Raises:
        LimitError: the experiment asks for more than the site allows.
        FedmetricError: the images cannot be used, or trained on.
    """
    limits = Limits.read(home.limits)
    limits.check_request(experiment)
    evaluated = frozenset(setting.get("evaluated", ()))
    channels = int(setting.get("channels", 0)) or (3 if experiment.data.options().get("colour") == "rgb" else 1)
    limits.check_size(experiment, channels)
    one = experiment.model_copy(update={"local": experiment.local.model_copy(update={"epochs": 1})})
    site = OwnFolder(one, home.data, int(setting.get("clients", 1)), channels, evaluated)
    limits.check_trainer(site.trainer)
    images = site.images_of(0)
    site.check_client(0, len(images))
    batch = images.subset(np.arange(batch_size_of(len(images), experiment.local.batch_size)))
    trainer = site.trainer_of(0)
    began = time.monotonic()
    shared = trainer.embedder.arrays(trainer.routes.down)
    state = trainer.rule.init(trainer.embedder.arrays(trainer.routes.server))
    update = local_update(trainer, batch, shared, trainer.rule.broadcast(state), ClientState(0), 1)
    seconds = time.monotonic() - began
    if experiment.federation.secure.on:
        update = would_be_masked(trainer)
    update = limits.outgoing(update, trainer)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    dataset = site.dataset
    return DryRun(manifest_of(update), len(images), len(dataset.skipped), dataset.notes, seconds, peak)
