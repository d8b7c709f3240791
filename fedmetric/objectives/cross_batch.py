"""Cross-batch memory.

Wang, Zhang, Huang, Scott, Cross-Batch Memory for Embedding Learning, CVPR 2020, section 3.2: a batch is also compared
with the embeddings of the batches before it, which cost no forward pass.

Differences: the memory is emptied when a round begins, because the network that filled it has been replaced by the
average over clients since, and does not drift slowly; so it needs no warm-up, is no state of the client and never
leaves it. The pairs of the batch itself are those of the loss beside it, not taken from the memory.
"""

from __future__ import annotations

import torch
from torch import Tensor


class CrossBatchMemory:
    """The last `size` embeddings of a round with their labels, the oldest first."""

    def __init__(self, size: int) -> None:
        """Begin with nothing.

        Args:
            size: most embeddings that are kept; 0 keeps none.
        """
        self.size = size
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.embeddings, self.labels = torch.empty(0, 0), torch.empty(0, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def add(self, embeddings: Tensor, labels: Tensor) -> None:
        """Keep the newest: (B, D) float, without their gradients, and (B,) int64."""
        if not len(self):
            self.embeddings, self.labels = embeddings[:0].detach(), labels[:0]
        self.embeddings = torch.cat([self.embeddings, embeddings.detach()])[-self.size :]
        self.labels = torch.cat([self.labels, labels])[-self.size :]
