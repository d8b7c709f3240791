"""Clustering: do the classes appear as clusters without any label?

k-means with as many clusters as classes, on embeddings of unit norm, by scikit-learn: one k-means++ start with the
experiment's seed and Lloyd's iterations, 100 at most. Rows are clustered in the order of their coordinates and in one
thread, so neither the order of the rows nor the number of cores changes a result.

NMI and AMI are mutual information over the arithmetic mean of both entropies, AMI and ARI are adjusted for chance: N.
X. Vinh, J. Epps, J. Bailey, "Information Theoretic Measures for Clusterings Comparison", JMLR 11, 2010. Purity: C. D.
Manning, P. Raghavan, H. Schuetze, "Introduction to Information Retrieval", Cambridge University Press 2008, section
16.3.
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, normalized_mutual_info_score
from threadpoolctl import threadpool_limits

from fedmetric.data.base import Labels
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.embeddings import Distance, normalise, placed
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.order import canonical_order
from fedmetric.seeds import derive_seed

MAX_STEPS = 100
NAMES = ("nmi", "ami", "ari", "purity")


def purity(clusters: Labels, labels: Labels) -> float:
    """Return the share of images that belong to the most frequent class of their cluster.

    Args:
        clusters: (N,) int64, N >= 1.
        labels: (N,) int64 ids.
    """
    _, cluster = np.unique(clusters, return_inverse=True)
    classes, label = np.unique(labels, return_inverse=True)
    cells, counts = np.unique(cluster.astype(np.int64) * len(classes) + label, return_counts=True)
    largest = np.zeros(int(cluster.max()) + 1, np.int64)
    np.maximum.at(largest, cells // len(classes), counts)
    return float(largest.sum() / len(labels))


def k_means(images: Labelled, num_clusters: int, seed: int, distance: Distance = "cosine") -> Labels:
    """Assign each image to one of `num_clusters` clusters.

    Args:
        images: N labelled embeddings, N >= `num_clusters`; the labels are not looked at.
        num_clusters: k; fewer are used where fewer rows differ.
        seed: of the experiment.
        distance: "cosine" clusters rows of unit norm, "euclidean" clusters them as they are, a distance that a network
            was trained for clusters them where it is a geometry's, and else rows of unit norm.

    Returns:
        (N,) int64 clusters, numbered from 0.
    """
    (placed_rows,), geometry = placed(images.embeddings, distance=distance)
    rows = normalise(placed_rows, geometry).float().cpu().numpy()
    order = canonical_order(images)
    state = derive_seed(seed, "k-means") % 2**32
    means = KMeans(num_clusters, n_init=1, max_iter=MAX_STEPS, random_state=state)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        sorted_clusters = means.fit_predict(rows[order])
    clusters = np.zeros(len(rows), np.int64)
    clusters[order] = sorted_clusters
    return clusters


def clustering_scores(images: Labelled, *, seed: int, distance: Distance = "cosine") -> dict[str, Score]:
    """Measure `nmi`, `ami`, `ari` and `purity` of k-means against the classes, over images and without an interval.

    All are null where nothing could go wrong: fewer than two classes, or every image its own class.

    Args:
        images: N labelled embeddings.
        seed: of the first centres.
        distance: "cosine", "euclidean", or one that a network was trained for.
    """
    num_classes = len(np.unique(images.labels))
    if num_classes < 2 or num_classes == len(images):
        return dict.fromkeys(NAMES, Score(None, None, 0, len(images)))
    clusters = k_means(images, num_classes, seed, distance)
    values = (
        normalized_mutual_info_score(images.labels, clusters),
        adjusted_mutual_info_score(images.labels, clusters),
        adjusted_rand_score(images.labels, clusters),
        purity(clusters, images.labels),
    )
    return {name: Score(float(value), None, len(images)) for name, value in zip(NAMES, values, strict=True)}
