"""One encoder for every branch: what makes a network siamese is that there is only one set of weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedmetric.distances.base import PairDistance


class SharedEncoder(nn.Module):
    """An encoder and a distance between what it gives; subclasses say which of their inputs are compared."""

    def __init__(self, encoder: nn.Module, distance: PairDistance) -> None:
        """Take over an encoder and a distance.

        Args:
            encoder: maps (N, ...) to (N, D, ...), which is flattened; `nn.Identity()` where inputs are embeddings.
            distance: between embeddings.
        """
        super().__init__()
        self.encoder = encoder
        self.distance = distance

    def embed(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Encode all branches in one pass, so that norm layers see one batch: (N_i, ...) each to (N_i, D) float."""
        encoded: Tensor = self.encoder(torch.cat(inputs)).flatten(1)
        return torch.split(encoded, [len(branch) for branch in inputs])
