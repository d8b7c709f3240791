"""The search of an index against a flat faiss index: both compare every pair."""

from __future__ import annotations

import numpy as np
import torch

from fedmetric.distances.cosine import Cosine
from fedmetric.index.nearest import Gallery
from fedmetric.seeds import numpy_generator
from fedmetric.simulations.benchmarks.pairs import Pair, time_pairs
from fedmetric.simulations.benchmarks.retrieval import require_faiss

DIMENSION, COUNT = 128, 10


def search_speed(pairs: int, rows: int = 100_000, queries: int = 100) -> list[Pair]:
    """Time queries against a gallery that both hold in memory, and count the queries that find the same.

    Args:
        pairs: interleaved runs of each side.
        rows: unit vectors in the gallery.
        queries: searched in one call.

    Raises:
        MissingExtraError: faiss is not installed.
    """
    require_faiss()
    import faiss

    generator = numpy_generator(1, "benchmark gallery")
    vectors = generator.normal(size=(rows + queries, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    gallery, asked = Gallery(torch.from_numpy(vectors[:rows]), Cosine()), torch.from_numpy(vectors[rows:])
    flat = faiss.IndexFlatIP(DIMENSION)
    flat.add(vectors[:rows])
    found: dict[str, np.ndarray] = {}

    def ours() -> None:
        found["ours"] = gallery.nearest(asked, COUNT)[0].numpy()

    def library() -> None:
        found["library"] = flat.search(asked.numpy(), COUNT)[1]

    pair = time_pairs(f"{queries} queries in {rows:,} / faiss flat", ours, library, pairs)
    same = int((found["ours"] == found["library"]).all(axis=1).sum())
    return [
        Pair(pair.name, pair.ours, pair.other, f"{same} of {queries} queries find the same {COUNT} in the same order")
    ]
