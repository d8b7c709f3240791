"""Embeddings with their labels: the input of every labelled metric, checked once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmetric.data.base import Labels
from fedmetric.errors import DataError
from fedmetric.evaluation.embeddings import check_embeddings


def label_ids(labels: Iterable[Hashable]) -> Labels:
    """Number any hashable labels from 0 in the order they first appear.

    Args:
        labels: N labels, such as strings, tuples or integers of any size.

    Returns:
        (N,) int64; equal exactly where the labels are equal.
    """
    table: dict[Hashable, int] = {}
    return np.array([table.setdefault(label, len(table)) for label in labels], dtype=np.int64)


@dataclass(frozen=True)
class Labelled:
    """Embeddings whose classes are known.

    Attributes:
        embeddings: (N, D) float; no NaN, infinity or zero row.
        labels: (N,) int64 ids from 0, in any order and with gaps; never floating point, which merges ids from 2^24.

    Raises:
        DataError: embeddings that `check_embeddings` refuses; labels that are not N non-negative integers.
    """

    embeddings: Tensor
    labels: Labels

    def __post_init__(self) -> None:
        labels = np.asarray(self.labels)
        if labels.shape != (len(self.embeddings),) or not np.issubdtype(labels.dtype, np.integer):
            raise DataError(
                f"labels must be ({len(self.embeddings)},) integers, not {labels.shape} {labels.dtype}; "
                "number other labels with fedmetric.evaluation.labelled.label_ids"
            )
        if np.any(labels < 0) or np.any(labels > np.iinfo(np.int64).max):
            raise DataError(
                "labels must lie in 0..2^63-1; leave unlabelled rows (-1) out, or number the labels with label_ids"
            )
        if len(labels):
            check_embeddings(self.embeddings)
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, rows: NDArray[np.int64]) -> Labelled:
        """Return the rows at these indices, in this order."""
        return Labelled(self.embeddings[torch.from_numpy(rows)], self.labels[rows])

    def class_sizes(self) -> Labels:
        """Return, for each row, how many rows carry its label, itself included: (N,) int64."""
        _, inverse, counts = np.unique(self.labels, return_inverse=True, return_counts=True)
        return counts[inverse].astype(np.int64)
