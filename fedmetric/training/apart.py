"""The two ends of a federation whose images lie apart: a client with a folder of its own, and a server without any.

Every other site holds the whole data set and takes its part of it, as simulations do.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from fedmetric.components import checked_component
from fedmetric.config import Experiment
from fedmetric.data.base import Dataset, ImageSet, class_hash
from fedmetric.data.cache import load_dataset
from fedmetric.errors import ConfigError, DataError
from fedmetric.privacy.schedule import Schedule, schedule_of
from fedmetric.registry import sources
from fedmetric.training.site import Site

COLOURS = {1: "grey", 3: "rgb"}
HERE = {"held_out": (), "held_out_share": 0.0}
"""Options of the source "folder" with which nothing of a folder is held out."""


class OwnFolder(Site):
    """A client's site: all images of one folder are its partition, and there is no other."""

    def __init__(
        self, experiment: Experiment, folder: Path, num_clients: int, channels: int, evaluated: frozenset[str]
    ) -> None:
        """Name the folder.

        Args:
            experiment: the server's.
            folder: the client's images, arranged as the source "folder" reads them.
            num_clients: in the federation.
            channels: of the images, 1 or 3.
            evaluated: hashes of class names that the server evaluates on.

        Raises:
            ConfigError: the experiment wants what lies at no client, such as public images.
        """
        check_apart(experiment)
        if channels not in COLOURS:
            raise ConfigError(f"the server asks for images of {channels} channels; 1 and 3 are possible")
        super().__init__(experiment)
        self._folder, self._num_clients, self._channels, self._evaluated = folder, num_clients, channels, evaluated

    @cached_property
    def dataset(self) -> Dataset:
        """The folder's images; ink is made white where the experiment's own source does so.

        Raises:
            DataError: the folder holds classes that the server evaluates on; the message names them.
        """
        given = self.experiment.data.options()
        invert = sources[self.experiment.data.name].traits.get("inverts", False) or given.get("invert", False)
        options = {"path": str(self._folder), "colour": COLOURS[self._channels], "invert": bool(invert)}
        source = checked_component(sources, {"name": "folder", **HERE, **options})
        found = load_dataset(source, self.experiment.image_size)
        if both := sorted(name for name in found.train.present_classes() if class_hash(name) in self._evaluated):
            shown = ", ".join(both[:5]) + (", ..." if len(both) > 5 else "")
            raise DataError(
                f"{self._folder}: {len(both)} classes are evaluated by the server and must not be trained on: {shown}; "
                "take them out of the folder"
            )
        return found

    @property
    def training_images(self) -> ImageSet:
        """All images of the folder."""
        return self.dataset.train

    @property
    def num_clients(self) -> int:
        """Clients in the federation, as the server says."""
        return self._num_clients

    @cached_property
    def schedule(self) -> Schedule:
        """How often the client's data is used; nobody else's images are known here."""
        return schedule_of(self.experiment, self._num_clients)

    def part_of(self, client: int) -> np.ndarray:
        """Return all indices, whatever number the server gave this client; see `Site.part_of`."""
        return np.arange(len(self.training_images), dtype=np.int64)


class EvaluationOnly(Site):
    """A server's site: it holds the classes that are evaluated and no image that is trained on."""

    def __init__(self, experiment: Experiment, num_clients: int) -> None:
        """Say how many clients there are.

        Raises:
            ConfigError: the experiment wants what the server has not, such as validation classes.
        """
        check_apart(experiment)
        super().__init__(experiment)
        self._num_clients = num_clients

    @cached_property
    def dataset(self) -> Dataset:
        """The data set: of the source "folder", every class is held out; of others, and of a manifest with held-out
        rows, what they hold out."""
        component = self.experiment.data
        if not set(HERE) <= set(component.options()):
            return load_dataset(component, self.experiment.image_size)
        everything = checked_component(sources, {**component.model_dump(), **HERE})
        found = load_dataset(everything, self.experiment.image_size)
        return found if len(found.held_out) else Dataset(found.held_out, found.train, found.skipped, found.notes)

    @property
    def training_images(self) -> ImageSet:
        """None."""
        return self.dataset.train.subset(np.arange(0))

    @property
    def evaluation_images(self) -> ImageSet:
        """The images of the classes that are evaluated."""
        return self.dataset.held_out

    @property
    def public_images(self) -> ImageSet:
        """None."""
        return self.training_images

    @cached_property
    def parts(self) -> list[np.ndarray]:
        """None: the server does not know how many images a client has."""
        return []

    @property
    def num_clients(self) -> int:
        """Clients in the federation."""
        return self._num_clients

    def check_clients(self) -> None:
        """Check nothing: every client checks itself when it is first asked to train."""


def check_apart(experiment: Experiment) -> None:
    """Refuse what needs training images at the server.

    Raises:
        ConfigError: names the key.
    """
    wanted = {
        "validation_classes": experiment.validation_classes,
        "validation_folds": experiment.validation_folds,
        "public_classes": experiment.public_classes,
        "audit_share": experiment.audit_share,
    }
    for key, value in wanted.items():
        if value:
            raise ConfigError(
                f"{key} = {value:g} takes from the training images, and those lie at the clients; set it to 0"
            )
