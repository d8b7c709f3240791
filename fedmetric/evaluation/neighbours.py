"""Weighted nearest-neighbour classification on frozen embeddings.

Z. Wu, Y. Xiong, S. X. Yu, D. Lin, "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR
2018, section 3.4: each of the k most similar training images votes for its class with weight exp(cosine /
temperature).

Difference: training images that tie for the last of the k places share what is left of them equally, so the order of
the rows cannot change a vote. Classes with equal votes go to the lowest id.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedmetric.data.base import Labels
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.ranking import BLOCK_BYTES
from fedmetric.evaluation.similarity import on_grid, similarity


def weighted_neighbours(train: Labelled, test: Tensor, *, k: int = 200, temperature: float = 0.1) -> Labels:
    """Predict the class of each test embedding from its nearest training embeddings, by cosine.

    Args:
        train: M labelled embeddings.
        test: (T, D) float embeddings, no zero rows.
        k: neighbours that vote; capped at M. 1 is the plain nearest neighbour.
        temperature: small values leave the vote to the nearest; large values count neighbours alike.

    Returns:
        (T,) int64 predicted ids.
    """
    classes, inverse = np.unique(train.labels, return_inverse=True)
    codes = torch.from_numpy(inverse).to(test.device)
    known, asked = on_grid(train.embeddings, test, distance="cosine")
    k, rows = min(k, len(train)), max(1, BLOCK_BYTES // (8 * max(1, len(train))))
    predicted = [np.zeros(0, np.int64)]
    for start in range(0, len(asked), rows):
        similar = similarity(asked[start : start + rows], known, "cosine")
        kept = similar.topk(k, dim=1).values
        last = kept[:, -1:]
        ahead, tied = similar > last, similar == last
        share = (k - ahead.sum(dim=1, keepdim=True)) / tied.sum(dim=1, keepdim=True)
        # Relative to the nearest, which changes no vote's winner, the weights cannot all underflow.
        weights = ((similar - kept[:, :1]) / temperature).exp_() * (ahead + tied * share)
        votes = torch.zeros(len(similar), len(classes), dtype=torch.float64, device=test.device)
        votes.index_add_(1, codes, weights)
        predicted.append(classes[votes.argmax(dim=1).cpu().numpy()])
    return np.concatenate(predicted)
