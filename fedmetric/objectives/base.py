"""What a client minimises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """One step's images.

    Attributes:
        views: V tensors of (B, C, H, W) float in [0, 1]; view v of image b is `views[v][b]`.
        labels: (B,) int64 class indices local to the client, or None when the objective needs none.
    """

    views: tuple[Tensor, ...]
    labels: Tensor | None = None


class Objective(nn.Module, ABC):
    """A loss together with the heads it trains on top of the shared backbone.

    Subclasses take `embedding_dim` (the backbone's D), then keyword-only options. Every direct child module is one
    parameter group, named by its attribute, such as "projector".

    Attributes:
        num_views: random views of each image that `forward` wants.
        needs_labels: whether `Batch.labels` must be there.
        decomposable: whether the loss is a mean over examples of terms that see one example each, so that per-example
            gradients exist (what record-level differential privacy needs).
        private: children that never leave the client.
    """

    num_views: ClassVar[int] = 2
    needs_labels: ClassVar[bool] = False
    decomposable: ClassVar[bool] = False
    private: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def forward(self, backbone: nn.Module, batch: Batch) -> Tensor:
        """Return the scalar loss of a batch, averaged over its images."""

    def after_step(self, backbone: nn.Module, progress: float) -> None:
        """Update what follows the weights, such as a momentum target; `progress` runs from 0 to 1 over the rounds."""
