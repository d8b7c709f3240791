"""The nearest-prototype classifier on frozen embeddings.

T. Mensink, J. Verbeek, F. Perronnin, G. Csurka, "Distance-Based Image Classification: Generalizing to New Classes at
Near-Zero Cost", TPAMI 35(11), 2013, section 3.2, without its learned metric: a class is the mean of its training
embeddings. Here embeddings have unit norm and prototypes are compared by cosine, as in few-shot. Prototypes that are
equally near give way to the lowest id. Sums of coordinates on the grid are exact, so no order of the rows changes one.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedmetric.data.base import Labels
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.ranking import BLOCK_BYTES
from fedmetric.evaluation.similarity import on_grid, similarity


def nearest_prototype(train: Labelled, test: Tensor) -> Labels:
    """Predict the class of each test embedding from the means of the training embeddings, by cosine.

    Args:
        train: M labelled embeddings, M >= 1.
        test: (T, D) float embeddings, no zero rows.

    Returns:
        (T,) int64 predicted ids. A class whose embeddings cancel out has no direction and similarity 0 to everything.
    """
    classes, inverse = np.unique(train.labels, return_inverse=True)
    (grid,) = on_grid(train.embeddings, distance="cosine")
    sums = torch.zeros(len(classes), grid.shape[1], dtype=torch.float64, device=grid.device)
    sums.index_add_(0, torch.from_numpy(inverse).to(grid.device), grid.double())
    directed = (sums != 0).any(dim=1)
    known, asked = on_grid(sums[directed], test, distance="cosine")
    rows = max(1, BLOCK_BYTES // (8 * len(classes)))
    predicted = [np.zeros(0, np.int64)]
    for start in range(0, len(asked), rows):
        part = asked[start : start + rows]
        nearness = torch.zeros(len(part), len(classes), dtype=torch.float64, device=part.device)
        nearness[:, directed] = similarity(part, known, "cosine")
        predicted.append(classes[nearness.argmax(dim=1).cpu().numpy()])
    return np.concatenate(predicted)
