"""What a client minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from torch import Generator, Tensor, nn

from fedmetric.distances.base import PairDistance
from fedmetric.distances.cosine import Cosine
from fedmetric.errors import ConfigError
from fedmetric.registry import objectives

if TYPE_CHECKING:
    from fedmetric.registry import Component

TargetPolicy = Literal["local", "reset", "aggregate"]
TARGET = "target"
"""The child that holds the momentum copy, in every objective that has one."""
PROXIES = "proxies"
"""The child that holds rows for the client's classes, in every objective that has them."""


@dataclass(frozen=True)
class Batch:
    """One step's images.

    Attributes:
        views: V tensors of (B, C, H, W) float in [0, 1]; view v of image b is `views[v][b]`.
        labels: (B,) int64 class indices of the data set, -1 for an image without a label, or None when the
            objective needs none.
    """

    views: tuple[Tensor, ...]
    labels: Tensor | None = None


class Objective(nn.Module, ABC):
    """A loss together with the heads it trains on top of the shared backbone.

    Subclasses take `embedding_dim` (the backbone's D), with `needs_classes` then `num_classes`, then keyword-only
    options. Every direct child module that has weights or buffers is one group, named by its attribute, such as
    "projector". Class attributes are literals: they are read from the file, so that an experiment is checked and
    methods are listed without importing torch.

    Attributes:
        num_views: random views of each image that `forward` wants.
        needs_labels: whether `Batch.labels` must be there.
        needs_classes: whether the heads have one part for each of the client's own classes, such as proxies; labels are
            then 0..num_classes - 1.
        decomposable: whether the loss is a mean over examples of terms that see one example each, so that per-example
            gradients exist (what record-level differential privacy needs).
        groups: the children that have weights or buffers, in the order of their definition.
        private: those of them that never leave the client: queues, centres, running sums.
        target_policy: what happens to the momentum copy between rounds by default; "" where there is none. "local"
            keeps it at the client, "reset" copies the received weights into it, "aggregate" shares and averages it.
        min_classes: fewest classes that a client needs for the loss to teach anything.
        min_batch: fewest images in a batch that the loss is defined on.
        rule: the only federation rule that it works under; "" for any.
        composite: whether it is made of the objectives that its option `parts` names.
    """

    num_views: int = 2
    needs_labels: bool = False
    needs_classes: bool = False
    decomposable: bool = False
    groups: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    target_policy: TargetPolicy | Literal[""] = ""
    min_classes: int = 0
    min_batch: int = 2
    rule: str = ""
    composite: bool = False

    def group_modules(self) -> dict[str, nn.Module]:
        """Return the module of every group: every direct child that has weights or buffers, in order."""
        return {name: child for name, child in self.named_children() if child.state_dict()}

    def attach(self, backbone: nn.Module) -> None:
        """Build what copies the backbone, such as a momentum target; called once, before training."""

    def reset_target(self, backbone: nn.Module) -> None:
        """Copy the online weights and buffers into the momentum target, where there is one."""

    def meet(self, client: int, backbone: nn.Module, batches: Iterable[Batch], generator: Generator) -> None:
        """Draw what must differ between clients; called at a client's first participation, its weights in place.

        Args:
            client: index of the data partition.
            backbone: with the weights that the client received.
            batches: one epoch of the client's batches, drawn as in training when asked for; none where its proxies
                start at random.
            generator: of this client's first participation.
        """

    def weigh(self, weights: Tensor) -> None:
        """Weigh each image of later batches by its class; only where the loss is one term for each image and class.

        Args:
            weights: (K,) float, on the device of the weights.
        """
        raise NotImplementedError

    def begin_round(self, round: int) -> None:
        """Prepare for one round at one client; rounds count from 1."""

    def class_rounds(self, round: int) -> int:
        """Count the rounds up to this one in which what is there for each class is trained: all of them."""
        return round

    def metric(self) -> PairDistance:
        """Return the distance by which embeddings are to be compared: cosine, unless the loss has one of its own."""
        return Cosine()

    @abstractmethod
    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Return the scalar loss of a batch, averaged over its images."""

    def after_step(self, backbone: nn.Module, progress: float) -> None:
        """Update what follows the weights, such as a momentum target; `progress` runs from 0 to 1 over the rounds."""

    def contributing(self, batch: Batch) -> int:
        """Count the images of a batch that the loss learns from: what the client is weighed by in the average."""
        return len(batch.views[0])

    def check_classes(self, client: int, num_classes: int) -> None:
        """Refuse a client with fewer classes than `min_classes`.

        Args:
            client: index of the data partition, for the message.
            num_classes: classes that the client's labelled images have.

        Raises:
            ConfigError: says what to change.
        """
        if num_classes < self.min_classes:
            raise ConfigError(
                f"client {client} has {num_classes} classes, and the objective needs at least {self.min_classes} to "
                "tell apart; give every client more classes (partition), or use objective 'positive-cosine' with "
                "federation.rule 'fedaws', which is made for one class at a client"
            )

    def check_client(self, client: int, num_images: int, batch_size: int) -> None:
        """Refuse a client that this objective cannot train on.

        Args:
            client: index of the data partition, for the message.
            num_images: images that the client holds.
            batch_size: images in its batches.

        Raises:
            ConfigError: says what to change.
        """
        if batch_size < self.min_batch:
            raise ConfigError(
                f"client {client} has batches of {batch_size}, the objective needs at least {self.min_batch}; "
                "give every client more images (partition) or choose another objective"
            )


def build_objective(component: Component, embedding_dim: int, num_classes: int = 1) -> Objective:
    """Construct the objective that a section of an experiment names.

    Args:
        component: the section.
        embedding_dim: D of the backbone.
        num_classes: of the client, 0 for one without labels; 1 at the server, which has no classes. A head has one
            part at least; only an objective made of parts is told of 0.
    """
    kind: Any = objectives[component.name].load()
    told: list[int] = []
    if getattr(kind, "composite", False):
        told = [num_classes]
    elif getattr(kind, "needs_classes", False):
        told = [max(1, num_classes)]
    found: Objective = objectives.build(component, embedding_dim, *told)
    return found
