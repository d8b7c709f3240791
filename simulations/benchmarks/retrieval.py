"""The evaluator against AccuracyCalculator and a faiss index, on embeddings of the size of Omniglot."""

from __future__ import annotations

import importlib.util

import numpy as np
import torch

from fedmetric.errors import MissingExtraError
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.retrieval import retrieval_scores
from fedmetric.seeds import numpy_generator
from fedmetric.simulations.benchmarks.pairs import Pair, time_pairs

CLASSES, PER_CLASS, DIMENSION, SPREAD = 659, 20, 64, 1.0
AGREEMENT = 1e-6


def clusters() -> Labelled:
    """Draw 13,180 unit vectors around 659 centres, so close that the nearest neighbour is often wrong."""
    generator = numpy_generator(1, "benchmark embeddings")
    centres = generator.normal(size=(CLASSES, DIMENSION))
    labels = np.repeat(np.arange(CLASSES, dtype=np.int64), PER_CLASS)
    points = centres[labels] + SPREAD * generator.normal(size=(len(labels), DIMENSION))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return Labelled(torch.from_numpy(points.astype(np.float32)), labels)


def require_faiss() -> None:
    """Check that faiss is installed.

    Raises:
        MissingExtraError: it is not; the message is the pip line.
    """
    if importlib.util.find_spec("faiss") is None:
        raise MissingExtraError("benchmarks", "the retrieval benchmark")


def evaluator_speed(pairs: int) -> list[Pair]:
    """Time all retrieval figures against each library's share of them, and compare the values where both have one.

    Raises:
        MissingExtraError: faiss is not installed.
    """
    require_faiss()
    import faiss
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator

    images = clusters()
    vectors, labels = images.embeddings, torch.from_numpy(images.labels)
    wanted = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
    calculator = AccuracyCalculator(include=wanted, k="max_bin_count", device=torch.device("cpu"))
    found: dict[str, dict[str, float]] = {}

    def ours() -> None:
        scores = retrieval_scores(images)
        found["ours"] = {name: score.mean or 0.0 for name, score in scores.items()}

    def library() -> None:
        found["library"] = calculator.get_accuracy(vectors, labels)

    def index() -> None:
        search = faiss.IndexFlatIP(DIMENSION)
        search.add(vectors.numpy())
        _, neighbours = search.search(vectors.numpy(), 11)
        own = np.arange(len(neighbours))[:, None]
        others = np.stack([row[row != mine][:10] for row, mine in zip(neighbours, own, strict=True)])
        hits = images.labels[others] == images.labels[:, None]
        found["index"] = {f"recall@{k}": float(hits[:, :k].any(1).mean()) for k in (1, 5, 10)}

    against_library = time_pairs("evaluator / AccuracyCalculator", ours, library, pairs)
    against_index = time_pairs("evaluator / faiss Recall@K only", ours, index, pairs)
    same = {"precision_at_1": "recall@1", "r_precision": "r_precision", "mean_average_precision_at_r": "map@r"}
    apart_library = max(abs(found["library"][theirs] - found["ours"][mine]) for theirs, mine in same.items())
    apart_index = max(abs(value - found["ours"][name]) for name, value in found["index"].items())
    return [
        Pair(
            pair.name,
            pair.ours,
            pair.other,
            f"values differ by {apart:.1e} at most ({'ok' if apart <= AGREEMENT else 'NOT EQUAL'})",
        )
        for pair, apart in ((against_library, apart_library), (against_index, apart_index))
    ]
