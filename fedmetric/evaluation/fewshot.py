"""Few-shot classification by the nearest prototype, over episodes drawn from cached embeddings.

J. Snell, K. Swersky, R. Zemel, "Prototypical Networks for Few-shot Learning", NIPS 2017, equation 1: a prototype is
the mean of its class's support embeddings. Differences: embeddings are computed once, not trained episodically; with
cosine, and with a distance that a network was trained for, the embeddings and the prototypes have unit norm, as in
retrieval. Queries at the same distance from several
prototypes go to whichever stands first in the episode's random order of classes, so an encoder that maps everything to
one vector scores exactly 1/N.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedmetric.distances.base import PairDistance
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.embeddings import Distance, normalise, plain, where
from fedmetric.evaluation.episodes import Episodes, draw_episodes
from fedmetric.evaluation.labelled import Labelled

CHUNK_BYTES = 32 * 2**20
"""Size of the embeddings gathered for one chunk of episodes."""


@torch.no_grad()
def episode_accuracies(images: Labelled, episodes: Episodes, distance: Distance = "cosine") -> NDArray[np.float64]:
    """Classify the queries of each episode by their nearest prototype.

    Args:
        images: N labelled embeddings that the episodes index.
        episodes: T episodes.
        distance: "cosine", "euclidean", or one that a network was trained for.

    Returns:
        (T,) float64, the share of queries given their own class.
    """
    distance = plain(distance)
    embeddings = normalise(images.embeddings, distance)
    num, n_way, n_shot = episodes.support.shape
    n_query, dim = episodes.queries.shape[2], embeddings.shape[1]
    own = torch.arange(n_way, device=embeddings.device).repeat_interleave(n_query)
    size = dim * n_way * (n_shot + n_query * (n_way if isinstance(distance, PairDistance) else 1))
    chunk = max(1, CHUNK_BYTES // (embeddings.element_size() * size))
    accuracies = np.zeros(num)
    for start in range(0, num, chunk):
        part = slice(start, start + chunk)
        prototypes = embeddings[torch.from_numpy(episodes.support[part])].mean(dim=2)
        queries = embeddings[torch.from_numpy(episodes.queries[part])].reshape(len(prototypes), -1, dim)
        correct = _nearness(queries, prototypes, distance).argmax(dim=2) == own
        accuracies[part] = correct.double().mean(dim=1).cpu().numpy()
    return accuracies


def _nearness(queries: Tensor, prototypes: Tensor, distance: Distance) -> Tensor:
    """Return what orders prototypes by nearness, largest first: (T, Q, D) and (T, N, D) float to (T, Q, N)."""
    if isinstance(distance, PairDistance):
        device = where(distance, queries)
        far: Tensor = distance(queries.to(device), prototypes.to(device))
        return -far.to(queries.device)
    if distance == "cosine":
        return torch.bmm(queries, torch.nn.functional.normalize(prototypes, dim=2).transpose(1, 2))
    # -d^2 + |query|^2
    return 2 * torch.bmm(queries, prototypes.transpose(1, 2)) - prototypes.square().sum(dim=2)[:, None]


def few_shot(
    images: Labelled,
    n_way: int,
    n_shot: int,
    *,
    n_query: int = 15,
    n_episodes: int = 600,
    seed: int,
    distance: Distance = "cosine",
) -> Score:
    """Measure N-way K-shot accuracy: mean over episodes, n episodes, images of too small classes skipped.

    The score is null where fewer than `n_way` classes have `n_shot` + 1 images.
    """
    episodes = draw_episodes(images.labels, n_way, n_shot, n_query, n_episodes, seed)
    if not len(episodes):
        return Score(None, None, 0, episodes.excluded_images)
    return Score.of(episode_accuracies(images, episodes, distance), episodes.excluded_images)
