"""Identification: whose image is this? Half of each class is enrolled, the other half are the probes.

P. J. Phillips, P. Grother, R. Micheals, "Evaluation Methods in Face Recognition", Handbook of Face Recognition, 2nd
edition, Springer 2011, chapter 21: CMC in a closed set, DIR at a FAR in an open one. A class is as near to a probe as
its nearest enrolled image, and ranks count classes, not images. Ties are broken pessimistically, as in retrieval:
classes that are equally near stand before the right one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fedmetric.data.base import Labels
from fedmetric.evaluation.base import Score
from fedmetric.evaluation.comparable import comparable, gridded
from fedmetric.evaluation.embeddings import Distance
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.ranking import BLOCK_BYTES
from fedmetric.evaluation.roc import SLACK
from fedmetric.evaluation.split import stratified_halves
from fedmetric.seeds import numpy_generator

RANKS = (1, 5, 10)
FALSE_ALARMS = (0.01, 0.1)


@dataclass(frozen=True)
class Candidates:
    """What a search of the enrolled classes found for each of P probes.

    Attributes:
        rank: (P,) int64 rank of the probe's own class, from 1; 0 where it is not enrolled.
        nearest: (P,) float64 similarity of the nearest enrolled image.
    """

    rank: Labels
    nearest: NDArray[np.float64]


def search(probes: Labelled, enrolled: Labelled, distance: Distance = "cosine") -> Candidates:
    """Rank the enrolled classes for each probe, in blocks: memory O(block x enrolled).

    Args:
        probes: P labelled embeddings, P >= 1.
        enrolled: E labelled embeddings, E >= 1; none of them is a probe.
        distance: "cosine", "euclidean", or one that a network was trained for.
    """
    (asked, known), distance = gridded(probes.embeddings, enrolled.embeddings, distance=distance)
    order = np.argsort(enrolled.labels, kind="stable")
    classes, starts = np.unique(enrolled.labels[order], return_index=True)
    known = known[torch.from_numpy(order)]
    rows = max(1, BLOCK_BYTES // (8 * len(enrolled)))
    ranks, nearest = [np.zeros(0, np.int64)], [np.zeros(0)]
    for start in range(0, len(probes), rows):
        similar = comparable(asked[start : start + rows], known, distance).cpu().numpy()
        by_class = np.maximum.reduceat(similar, starts, axis=1)
        labels = probes.labels[start : start + rows]
        place = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
        own = by_class[np.arange(len(labels)), place]
        # all classes at least as near, the right one among them: it stands behind those it ties with
        rank = (by_class >= own[:, None]).sum(axis=1)
        ranks.append(np.where(classes[place] == labels, rank, 0).astype(np.int64))
        nearest.append(by_class.max(axis=1))
    return Candidates(np.concatenate(ranks), np.concatenate(nearest))


def closed_set(images: Labelled, seed: int, distance: Distance = "cosine") -> dict[str, Score]:
    """Search every probe among all classes of two images: `cmc@1`, `cmc@5`, `cmc@10`.

    CMC at rank k is the share of probes whose class is among the k nearest classes, with its interval over probes. It
    is null where no more than k classes are enrolled: every encoder would score 1.
    """
    split = stratified_halves(images.labels, seed)
    num_classes = len(np.unique(images.labels[split.train]))
    if num_classes < 2:
        return {f"cmc@{k}": Score(None, None, 0, len(images)) for k in RANKS}
    rank = search(images.subset(split.test), images.subset(split.train), distance).rank
    return {
        f"cmc@{k}": Score.of((rank <= k).astype(np.float64), split.skipped)
        if k < num_classes
        else Score(None, None, 0, len(images))
        for k in RANKS
    }


def open_set(images: Labelled, seed: int, distance: Distance = "cosine") -> dict[str, Score]:
    """Search among half of the classes, the other half being unknown: `dir@far1%` and `dir@far10%`.

    The detection and identification rate at FAR = f is the share of mated probes whose own class is nearest, and nearer
    than the threshold: the lowest that lets at most a share f of the non-mated probes, which are all images of the
    unknown classes, find anything nearer. It is null with fewer than two classes of two images, and where f is below
    one non-mated probe. It has no interval: the threshold varies with the classes drawn, which no count of probes says.
    """
    split = stratified_halves(images.labels, seed)
    classes = np.unique(images.labels[split.train])
    names = {f"dir@far{100 * rate:g}%": rate for rate in FALSE_ALARMS}
    if len(classes) < 2:
        return dict.fromkeys(names, Score(None, None, 0, len(images)))
    known = numpy_generator(seed, "enrolled classes").permutation(classes)[: (len(classes) + 1) // 2]
    mated, enrolled = (rows[np.isin(images.labels[rows], known)] for rows in (split.test, split.train))
    halves = np.sort(np.concatenate([split.test, split.train]))
    non_mated = halves[~np.isin(images.labels[halves], known)]
    gallery = images.subset(enrolled)
    found = search(images.subset(mated), gallery, distance)
    alarms = np.sort(search(images.subset(non_mated), gallery, distance).nearest)[::-1]
    rates = {name: detection_rate(found, alarms, rate) for name, rate in names.items()}
    return {
        name: Score(None, None, 0, len(images)) if value is None else Score(value, None, len(mated), split.skipped)
        for name, value in rates.items()
    }


def detection_rate(found: Candidates, alarms: NDArray[np.float64], rate: float) -> float | None:
    """Return the share of mated probes that are identified above the threshold for a false alarm rate.

    Args:
        found: of the mated probes.
        alarms: (M,) float64, what non-mated probes found nearest, descending.
        rate: share of the non-mated probes that may pass, above 0.

    Returns:
        None where `rate` is below one of them.
    """
    allowed = math.floor(rate * len(alarms) + SLACK)
    if allowed < 1:
        return None
    threshold = alarms[allowed] if allowed < len(alarms) else -np.inf  # itself not passed
    return float(((found.rank == 1) & (found.nearest > threshold)).mean())


def identification_scores(images: Labelled, *, seed: int, distance: Distance = "cosine") -> dict[str, Score]:
    """Measure identification in a closed and in an open set; see `closed_set` and `open_set`.

    Args:
        images: N labelled embeddings; images alone in their class are skipped and counted.
        seed: draws the enrolled half of each class and the enrolled half of the classes.
        distance: "cosine", "euclidean", or one that a network was trained for.
    """
    return {**closed_set(images, seed, distance), **open_set(images, seed, distance)}
