"""What a place with images builds from an experiment: its partitions, and everything that the local loop needs."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

from fedmetric.config import Experiment
from fedmetric.data.base import Dataset, ImageSet
from fedmetric.data.cache import load_dataset
from fedmetric.data.heldout import training_and_validation
from fedmetric.data.partition import partition
from fedmetric.errors import ConfigError
from fedmetric.federation.base import FederationRule, RuleContext
from fedmetric.federation.norms import NORM_POLICIES
from fedmetric.layout import routes
from fedmetric.models.embedder import build_embedder
from fedmetric.registry import rules, views
from fedmetric.training.batches import batch_size_of
from fedmetric.training.local_update import Trainer


def compute_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Site:
    """The data and the training objects of one experiment, each built when first needed."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, from the cache."""
        return load_dataset(self.experiment.data, self.experiment.image_size)

    @cached_property
    def _split(self) -> tuple[ImageSet, ImageSet]:
        by = self.experiment.partition.options().get("by")  # of the partitioners that follow a grouping
        return training_and_validation(self.dataset, self.experiment.validation_classes, by, self.experiment.seed)

    @property
    def training_images(self) -> ImageSet:
        """All images that clients may hold."""
        return self._split[0]

    @property
    def evaluation_images(self) -> ImageSet:
        """The images of the classes that the experiment evaluates on."""
        return self._split[1] if self.experiment.evaluation.on == "validation" else self.dataset.held_out

    @cached_property
    def parts(self) -> list[np.ndarray]:
        """The indices of every client's images, int64."""
        return partition(self.experiment.partition, self.training_images, self.experiment.seed)

    @property
    def num_clients(self) -> int:
        """Number of partitions."""
        return len(self.parts)

    def images_of(self, client: int) -> ImageSet:
        """Copy one client's images.

        Raises:
            ConfigError: there is no such client.
        """
        if not 0 <= client < self.num_clients:
            raise ConfigError(f"client {client} asked for, but the partition has {self.num_clients} clients")
        return self.training_images.subset(self.parts[client])

    @cached_property
    def trainer(self) -> Trainer:
        """The network, the views, the rule, and what travels."""
        federation = self.experiment.federation
        embedder = build_embedder(self.experiment, self.dataset.train.channels)
        layout, policy = embedder.layout, NORM_POLICIES[federation.norm]
        statistics = layout.statistics
        context = RuleContext(layout, self.num_clients, statistics if policy.pooled else {})
        rule: FederationRule = rules.build(federation.rule, context)
        target = embedder.objective.target_policy if federation.target == "default" else federation.target
        travelling = routes(
            layout,
            local={*rule.local(), *(layout.targets if target != "aggregate" else ())},
            kept={*rule.kept(), *(statistics if policy.stays else ()), *(statistics.values() if policy.stays else ())},
        )
        return Trainer(
            self.experiment,
            embedder,
            views.build(self.experiment.views),
            rule,
            travelling,
            target,
            embedder.arrays(travelling.own),
            compute_device(),
        )

    def check_clients(self) -> None:
        """Refuse clients that the objective cannot train on, before any of them starts.

        Raises:
            ConfigError: names the first such client and what to change.
        """
        for client, part in enumerate(self.parts):
            size = batch_size_of(len(part), self.experiment.local.batch_size)
            self.trainer.embedder.objective.check_client(client, len(part), size)
