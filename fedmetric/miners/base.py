"""What a pair loss learns from: some of a batch's pairs, triplets or quadruplets.

A miner is built with the distance of the loss and called with embeddings and labels. What it returns is what the losses
of pytorch-metric-learning take as `indices_tuple`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Indices = tuple[Tensor, ...]
"""Rows of a batch, int64: (anchors, positives, negatives) of triplets, all (T,); (anchors, positives) of (P,) positive
pairs and (anchors, negatives) of (N,) negative pairs; or (a, p, n1, n2) of quadruplets, all (T,), from a miner with
`mines = "quadruplets"`."""

Miner = Callable[[Tensor, Tensor], Indices | None]
"""Maps (B, D) float embeddings and (B,) int64 labels to rows, or to None for all; without a gradient."""
