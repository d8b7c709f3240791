"""What a place with images builds from an experiment: its partitions, and everything that the local loop needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from fedmetric.arrays import Arrays
from fedmetric.components import checked_components
from fedmetric.config import Experiment
from fedmetric.data.audit_pool import AuditPool, draw_pool
from fedmetric.data.base import UNLABELLED, Dataset, ImageSet
from fedmetric.data.cache import load_dataset
from fedmetric.data.heldout import split_groups, training_and_fold, training_and_validation
from fedmetric.data.own_classes import own_classes
from fedmetric.data.partition import partition
from fedmetric.errors import ConfigError
from fedmetric.federation.base import FederationRule, RuleContext
from fedmetric.federation.norms import NORM_POLICIES
from fedmetric.layout import Routes, routes
from fedmetric.models.embedder import Embedder, build_embedder
from fedmetric.objectives.proxies import ProxyObjective
from fedmetric.privacy.base import Training
from fedmetric.privacy.schedule import Schedule, schedule_of
from fedmetric.privacy.secure.masking import check_secure
from fedmetric.privacy.secure.noise import mechanism_of
from fedmetric.registry import backbones, rules, samplers, views
from fedmetric.seeds import numpy_generator
from fedmetric.training.batches import batch_size_of, to_tensor
from fedmetric.training.local_update import Trainer
from fedmetric.training.start import classes_of_start, starting_weights

MAX_PUBLIC = 1024
MAX_TRAINERS = 8
"""Networks kept at a time: clients may have encoders of their own, and heads for their own classes."""


def compute_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class Site:
    """The data and the training objects of one experiment, each built when first needed."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self._trainers: dict[tuple[int, int], Trainer] = {}

    @cached_property
    def dataset(self) -> Dataset:
        """The data set, from the cache."""
        return load_dataset(self.experiment.data, self.experiment.image_size)

    @cached_property
    def _split(self) -> tuple[ImageSet, ImageSet, ImageSet]:
        """What the clients share, what is validated on, what is public."""
        experiment = self.experiment
        by = experiment.partition.options().get("by")  # of the partitioners that follow a grouping
        if experiment.validation_folds:
            folds, fold = experiment.validation_folds, experiment.validation_fold
            train, validation = training_and_fold(self.dataset, folds, fold, by, experiment.seed)
        else:
            share = experiment.validation_classes
            train, validation = training_and_validation(self.dataset, share, by, experiment.seed)
        share, purpose = experiment.public_classes, "public classes"
        train, public = split_groups(train, share, by, experiment.seed, purpose, "public_classes")
        return train, validation, public

    @property
    def training_images(self) -> ImageSet:
        """All images that clients may hold."""
        return self._split[0]

    @property
    def evaluation_images(self) -> ImageSet:
        """The images of the classes that the experiment evaluates on."""
        return self._split[1] if self.experiment.evaluation.on == "validation" else self.dataset.held_out

    @property
    def public_images(self) -> ImageSet:
        """The images that everybody has; their labels are not used."""
        return self._split[2]

    @cached_property
    def public_pixels(self) -> Tensor:
        """The public images as (N, C, H, W) float, 1,024 at most, evenly spread."""
        images = self.public_images.images
        rows = np.unique(np.linspace(0, len(images) - 1, min(MAX_PUBLIC, len(images))).round().astype(np.int64))
        return to_tensor(images[rows], compute_device())

    @cached_property
    def _whole_parts(self) -> list[np.ndarray]:
        return partition(self.experiment.partition, self.training_images, self.experiment.seed)

    @cached_property
    def audit_pool(self) -> AuditPool:
        """The images that an audit may use, and which of them are trained on."""
        return draw_pool(self._whole_parts, self.experiment.audit_share, self.experiment.seed)

    @cached_property
    def parts(self) -> list[np.ndarray]:
        """The indices of every client's images, int64; those that an audit keeps back are not among them."""
        if not self.experiment.audit_share:
            return self._whole_parts
        return [part[~np.isin(part, self.audit_pool.excluded_rows)] for part in self._whole_parts]

    def beginning(self) -> Arrays:
        """Return the server's weights before the first round."""
        embedder = self.trainer.embedder
        started = self.starting(embedder.layout.of("backbone"), embedder)
        if started:
            embedder.load(started, started, "start.weights")
            embedder.objective.reset_target(embedder.backbone)  # a target that is shared starts as the network does
        return embedder.arrays(self.trainer.routes.server)

    @cached_property
    def trained_before(self) -> tuple[str, ...] | None:
        """The hashes of the classes that the weights to start from saw; None where nobody says."""
        return classes_of_start(self.experiment.start)

    def starting(self, names: Collection[str], embedder: Embedder) -> Arrays:
        """Return those of a network's tensors that the experiment starts from a file; none without such a file.

        Args:
            names: tensors that are wanted.
            embedder: the network.

        Raises:
            ConfigError: the file is not there, or does not fit.
        """
        if not self.experiment.start.weights:
            return {}
        found = starting_weights(self.experiment.start, embedder.arrays(embedder.layout.of("backbone")))
        return {name: array for name, array in found.items() if name in names}

    @property
    def num_clients(self) -> int:
        """Number of partitions."""
        return len(self.parts)

    @cached_property
    def schedule(self) -> Schedule:
        """How often whose data is used."""
        return schedule_of(self.experiment, self.num_clients, [len(part) for part in self.parts])

    def part_of(self, client: int) -> np.ndarray:
        """Return the indices of one client's images, int64."""
        return self.parts[client]

    def images_of(self, client: int) -> ImageSet:
        """Copy one client's images; where the objective has a part for each class, they are numbered from 0.

        Raises:
            ConfigError: there is no such client.
        """
        if not 0 <= client < self.num_clients:
            raise ConfigError(f"client {client} asked for, but the partition has {self.num_clients} clients")
        images = self.training_images.subset(self.part_of(client))
        images = dataclasses.replace(images, labels=self._labels_of(client))
        return own_classes(images) if self.trainer.embedder.objective.needs_classes else images

    @cached_property
    def _with_labels(self) -> set[int]:
        """The clients that train with labels."""
        share = self.experiment.labelled_clients
        count = round(share * self.num_clients)
        if share and not count:
            raise ConfigError(
                f"labelled_clients = {share:g} of {self.num_clients} clients is none; raise it, or set it to 0"
            )
        order = numpy_generator(self.experiment.seed, "labelled clients").permutation(self.num_clients)
        return set(order[:count].tolist())

    def _labels_of(self, client: int) -> np.ndarray:
        labels = self.training_images.labels[self.part_of(client)]
        return labels if client in self._with_labels else np.full_like(labels, UNLABELLED)

    @cached_property
    def trainer(self) -> Trainer:
        """The server's network, the views, the rule, and what travels."""
        return self._trainer(self.experiment)

    def trainer_of(self, client: int) -> Trainer:
        """What one client trains: the server's network, unless the rule gives clients encoders of their own or the
        objective has a part for each of the client's classes."""
        rule = self.experiment.federation.rule
        encoders = getattr(rule, "encoders", ()) if rules[rule.name].traits.get("own_encoders") else ()
        key = (client % len(encoders) if encoders else -1, self._num_classes(client))
        if key == (-1, 1):
            return self.trainer
        if key not in self._trainers:
            experiment = self.experiment
            if encoders:
                (model,) = checked_components(backbones, [encoders[key[0]]], "encoder")
                experiment = experiment.model_copy(update={"model": model})
            while len(self._trainers) >= MAX_TRAINERS:
                self._trainers.pop(next(iter(self._trainers)))
            self._trainers[key] = self._trainer(experiment, key[1])
        return self._trainers[key]

    def _num_classes(self, client: int) -> int:
        """Return the classes that a client's heads tell apart; 1 where they have no part for each class."""
        if not self.trainer.embedder.objective.needs_classes:
            return 1
        return self._classes_held(client)

    def _classes_held(self, client: int) -> int:
        """Return the classes of a client's labelled images, once the views have been prepared."""
        labels = self._labels_of(client)
        return len(np.unique(labels[labels >= 0])) * self.trainer.views.num_variants

    def _trainer(self, experiment: Experiment, num_classes: int = 1) -> Trainer:
        federation = experiment.federation
        embedder = build_embedder(experiment, self.dataset.train.channels, num_classes=num_classes)
        layout, policy = embedder.layout, NORM_POLICIES[federation.norm]
        statistics = layout.statistics
        objective = embedder.objective
        row = tuple(objective.rows().shape[1:]) if isinstance(objective, ProxyObjective) else ()
        context = RuleContext(layout, self.num_clients, statistics if policy.pooled else {}, row)
        rule: FederationRule = rules.build(federation.rule, context)
        target = embedder.objective.target_policy if federation.target == "default" else federation.target
        travelling = routes(
            layout,
            local={*rule.local(), *(layout.targets if target != "aggregate" else ())},
            kept={*rule.kept(), *(statistics if policy.stays else ()), *(statistics.values() if policy.stays else ())},
            server=rule.held(),
        )
        mechanism = mechanism_of(experiment)
        training = Training(
            experiment, layout, travelling, rule,
            any(isinstance(layer, _BatchNorm) for layer in embedder.modules()), embedder.objective.decomposable,
                embedder.objective.needs_labels,
        )  # fmt: skip
        if federation.secure.on:
            check_secure(training, self.schedule)
        mechanism.check(training)
        return Trainer(
            experiment,
            embedder,
            views.build(self.experiment.views),
            samplers.build(self.experiment.local.sampler),
            mechanism.around(rule, self.schedule),
            travelling,
            target,
            embedder.arrays(travelling.own) | self._starting_at_clients(travelling, embedder),
            compute_device(),
            self.public_pixels if rule.needs_public or mechanism.needs_public else None,
            mechanism,
            self.schedule,
        )

    def _starting_at_clients(self, travelling: Routes, embedder: Embedder) -> Arrays:
        """Return what clients themselves start from a file: tensors of the backbone that the server does not send."""
        own = set(travelling.own) & set(embedder.layout.of("backbone"))
        return self.starting(own, embedder) if own else {}

    def check_clients(self) -> None:
        """Refuse clients that the objective cannot train on, before any of them starts.

        Raises:
            ConfigError: names the first such client and what to change.
        """
        for client, part in enumerate(self.parts):
            self.check_client(client, len(part))

    def check_client(self, client: int, count: int) -> None:
        """Refuse a client with this many images if the objective cannot be trained on them; see `check_clients`."""
        size = batch_size_of(count, self.experiment.local.batch_size)
        if size < 2 and self.trainer.embedder.layout.statistics:
            raise ConfigError(
                f"client {client} has batches of {size}, too few for the statistics of BatchNorm; give every "
                "client more images (partition), or set federation.norm to 'group_norm'"
            )
        objective = self.trainer_of(client).embedder.objective
        objective.check_client(client, count, size)
        objective.check_classes(client, self._classes_held(client))
