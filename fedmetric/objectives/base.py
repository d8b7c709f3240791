"""What a client minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from fedmetric.errors import ConfigError

TargetPolicy = Literal["local", "reset", "aggregate"]
TARGET = "target"
"""The child that holds the momentum copy, in every objective that has one."""


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

    Subclasses take `embedding_dim` (the backbone's D), then keyword-only options. Every direct child module that has
    weights or buffers is one group, named by its attribute, such as "projector". Class attributes are literals: they
    are read from the file, so that an experiment is checked and methods are listed without importing torch.

    Attributes:
        num_views: random views of each image that `forward` wants.
        needs_labels: whether `Batch.labels` must be there.
        decomposable: whether the loss is a mean over examples of terms that see one example each, so that per-example
            gradients exist (what record-level differential privacy needs).
        groups: the children that have weights or buffers, in the order of their definition.
        private: those of them that never leave the client: queues, centres, running sums.
        target_policy: what happens to the momentum copy between rounds by default; "" where there is none. "local"
            keeps it at the client, "reset" copies the received weights into it, "aggregate" shares and averages it.
        min_batch: fewest images in a batch that the loss is defined on.
        rule: the only federation rule that it works under; "" for any.
        composite: whether it is made of the objectives that its option `parts` names.
    """

    num_views: int = 2
    needs_labels: bool = False
    decomposable: bool = False
    groups: tuple[str, ...] = ()
    private: tuple[str, ...] = ()
    target_policy: TargetPolicy | Literal[""] = ""
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

    @abstractmethod
    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Return the scalar loss of a batch, averaged over its images."""

    def after_step(self, backbone: nn.Module, progress: float) -> None:
        """Update what follows the weights, such as a momentum target; `progress` runs from 0 to 1 over the rounds."""

    def contributing(self, batch: Batch) -> int:
        """Count the images of a batch that the loss learns from: what the client is weighed by in the average."""
        return len(batch.views[0])

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
