"""What a server may ask of a site and what may leave it: the site's own terms, which no server can change.

They are checked before anything is trained on, and once more on the finished update. A refusal tells the server which
term it broke, and nothing of the site's images, classes or paths.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from fedmetric.components import checked_components
from fedmetric.config import Experiment
from fedmetric.errors import FedmetricError, UsageError
from fedmetric.federation.base import Update
from fedmetric.models.embedder import build_embedder
from fedmetric.privacy.manifest import contents_of
from fedmetric.privacy.secure.tables import MASKED
from fedmetric.registry import backbones, nearest, rules
from fedmetric.training.local_update import Trainer

METRICS = frozenset({"loss", "steps", "batch_size", "images", "std", "rank", "uniformity", "alignment"})
"""Figures of a round that may leave; "images" is how many the site trains on, which weights of the mean tell anyway."""


class LimitError(FedmetricError):
    """Report that a server asked for more than the site allows; safe to be told to the server."""


@dataclass(frozen=True)
class Limits:
    """A site's terms.

    Attributes:
        epochs: most passes over the images in one round.
        rounds: most rounds of a run.
        batch_size: most images in a batch.
        image_size: largest side in pixels.
        parameters: most numbers that the network may hold: parameters, queues and statistics.
        groups: parts of the network whose weights may leave; the default leaves out proxies, queues and targets.
        rules: federation rules that may send something beside the weights, such as "scaffold"; see
            'fedmetric list rules' for what each shares.
        external: methods outside fedmetric, as "module:name", that a server may name; naming one imports it.
        mechanisms: privacy mechanisms of which an experiment must use one, such as "record-level"; none for any.
        epsilon: most that all runs together may spend of the privacy of this site's images; 0 for no limit.
        delta: at which it is counted.
    """

    epochs: int = 50
    rounds: int = 10_000
    batch_size: int = 1024
    image_size: int = 256
    parameters: int = 100_000_000
    groups: tuple[str, ...] = ("backbone", "projector", "predictor", "prototypes")
    rules: tuple[str, ...] = ()
    external: tuple[str, ...] = ()
    mechanisms: tuple[str, ...] = ()
    epsilon: float = 0.0
    delta: float = 1e-5

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> Self:
        """Read the table [limits] of a site's settings.

        Raises:
            UsageError: a key is unknown, or a value is of another kind.
        """
        kinds = {field.name: type(field.default) for field in fields(cls)}
        found: dict[str, Any] = {}
        for key, value in table.items():
            if key not in kinds:
                raise UsageError(f"limits.{key} is unknown{nearest(key, list(kinds))}; known: {', '.join(kinds)}")
            if kinds[key] is tuple and isinstance(value, list) and all(isinstance(part, str) for part in value):
                found[key] = tuple(value)
            elif kinds[key] is int and isinstance(value, int) and not isinstance(value, bool) and value > 0:
                found[key] = value
            elif kinds[key] is float and isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
                found[key] = float(value)
            else:
                wanted = {tuple: "a list of names", float: "a number above 0"}.get(kinds[key], "a whole number above 0")
                raise UsageError(f"limits.{key} = {value!r} must be {wanted}")
        return cls(**found)

    def check_request(self, experiment: Experiment) -> None:
        """Refuse an experiment that asks for too much; nothing has been built yet.

        Raises:
            LimitError: names the key, what is asked and what is allowed.
        """
        asked = {
            "local.epochs": (experiment.local.epochs, self.epochs),
            "federation.rounds": (experiment.federation.rounds, self.rounds),
            "local.batch_size": (experiment.local.batch_size, self.batch_size),
            "image_size": (experiment.image_size, self.image_size),
        }
        for key, (value, allowed) in asked.items():
            if value > allowed:
                raise LimitError(f"{key} = {value} is asked, this site allows {allowed}")
        if self.mechanisms and experiment.privacy.name not in self.mechanisms:
            raise LimitError(
                f"privacy '{experiment.privacy.name}' is asked for, this site takes part under {list(self.mechanisms)} "
                "only"
            )
        rule = experiment.federation.rule.name
        if rules[rule].traits.get("sends_extra") and rule not in self.rules:
            raise LimitError(
                f"rule '{rule}' sends {rules[rule].traits['shares']}; more than weights may leave this site under the "
                f"rules {list(self.rules)} only"
            )

    def check_size(self, experiment: Experiment, channels: int) -> None:
        """Refuse a network that is too large; it is counted without memory for it.

        Raises:
            LimitError: names both numbers.
        """
        rule = experiment.federation.rule.options()
        models = [experiment.model, *checked_components(backbones, rule.get("encoders", ()), "encoder")]
        for model in models:
            with torch.device("meta"):
                network = build_embedder(experiment.model_copy(update={"model": model}), channels)
            count = sum(tensor.numel() for tensor in (*network.parameters(), *network.buffers()))
            if count > self.parameters:
                raise LimitError(f"the network has {count:,} parameters, this site allows {self.parameters:,}")

    def check_trainer(self, trainer: Trainer) -> None:
        """Refuse parts of the network that are not to leave.

        Raises:
            LimitError: names the parts.
        """
        layout = trainer.embedder.layout
        groups = sorted({layout.groups[name] for name in trainer.routes.up} - set(self.groups))
        if groups:
            raise LimitError(f"the parts {groups} would leave this site, which allows {list(self.groups)}")

    def outgoing(self, update: Update, trainer: Trainer) -> Update:
        """Return what may leave of an update: its metrics are cut down to those that are known.

        Raises:
            LimitError: there are arrays that were not announced, or arrays beside the weights that are not allowed.
        """
        rule = trainer.experiment.federation.rule.name
        if update.extra and rule not in self.rules:
            raise LimitError(f"rule '{rule}' sends more than weights; this site allows that to {list(self.rules)}")
        hidden = trainer.experiment.federation.secure.on
        if strange := sorted(set(update.arrays) - ({MASKED} if hidden else set(trainer.routes.up))):
            raise LimitError(f"{len(strange)} arrays would leave that are no part of what is shared: {strange[:3]}")
        metrics = {name: value for name, value in update.metrics.items() if name in METRICS}
        return Update(update.client, update.arrays, update.num_examples, update.extra, metrics)


def manifest_of(update: Update) -> list[dict[str, Any]]:
    """List every tensor and figure of an update, with the L2 norm of floats; see `fedmetric.privacy.manifest`."""
    arrays = {**update.arrays, **update.extra}
    return [{**row, **_norm(arrays.get(row["name"]))} for row in contents_of(update)]


def _norm(array: NDArray[Any] | None) -> dict[str, float]:
    floating = array is not None and np.issubdtype(array.dtype, np.floating)
    return {"norm": float(np.linalg.norm(array.astype(np.float64)))} if array is not None and floating else {}
