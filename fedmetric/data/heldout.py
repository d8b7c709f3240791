"""Classes kept from every client: to tune on, or to publish; apart from the held-out classes that are reported."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedmetric.data.base import Dataset, ImageSet, check_disjoint
from fedmetric.errors import ConfigError
from fedmetric.seeds import numpy_generator


def training_and_validation(
    dataset: Dataset, share: float, grouping_of_partition: str | None, seed: int
) -> tuple[ImageSet, ImageSet]:
    """Divide the training images into what the clients share and what is validated on; see `split_groups`."""
    return split_groups(dataset.train, share, grouping_of_partition, seed, "validation classes", "validation_classes")


def training_and_fold(
    dataset: Dataset, folds: int, fold: int, grouping_of_partition: str | None, seed: int
) -> tuple[ImageSet, ImageSet]:
    """Divide the training images for one fold of a cross-validation over classes.

    Args:
        dataset: with the training images.
        folds: into how many parts the groups are dealt, as evenly as they go; every group is in one of them.
        fold: the part that is validated on, from 0.
        grouping_of_partition: as in `split_groups`, which says what a group is.
        seed: the experiment's seed.

    Returns:
        What the clients share and what is validated on, class-disjoint.

    Raises:
        ConfigError: only some images have labels, or there are fewer groups than folds.
    """
    images = dataset.train
    what, codes, present = _present_groups(images, f"validation_folds = {folds}", grouping_of_partition)
    if folds > len(present):
        raise ConfigError(f"validation_folds = {folds}, but {images.name} has {len(present)} {what}; lower it")
    order = numpy_generator(seed, "validation folds").permutation(present)
    return _apart(images, codes, order[fold::folds])


def split_groups(
    images: ImageSet, share: float, grouping_of_partition: str | None, seed: int, purpose: str, key: str
) -> tuple[ImageSet, ImageSet]:
    """Take a share of the groups away from all clients, class-disjoint.

    Groups are those of the partition's grouping or else of the set's first, if no class lies in two of them
    (alphabets); failing both, single classes are taken. Where no image has a label, single images are: such a part
    serves for figures that need none, such as the effective rank.

    Args:
        images: what is divided.
        share: share of the groups to keep away, rounded, but at least one; 0 keeps none.
        grouping_of_partition: the name of the grouping that the natural partition uses; None or "" for another
            partition.
        seed: the experiment's seed.
        purpose: of the random choice.
        key: of the experiment, for messages.

    Returns:
        What stays and what was taken away; both keep the class indices of the whole.

    Raises:
        ConfigError: only some images have labels, or nothing would be left to train on.
    """
    if share == 0:
        return images, images.subset(np.empty(0, dtype=np.int64))
    what, codes, present = _present_groups(images, f"{key} = {share}", grouping_of_partition)
    taken = max(1, round(share * len(present)))
    if taken >= len(present):
        raise ConfigError(
            f"{key} = {share} takes {taken} of {len(present)} {what} of {images.name} and leaves none to "
            "train on; lower it"
        )
    return _apart(images, codes, numpy_generator(seed, purpose).choice(present, size=taken, replace=False))


def _present_groups(
    images: ImageSet, setting: str, preferred: str | None
) -> tuple[str, NDArray[np.int64], NDArray[np.int64]]:
    """Return what groups are, in words, the group of every image, and the groups that have one."""
    if len(images) > 0 and images.labels.max() < 0:
        return "images without labels", np.arange(len(images)), np.arange(len(images))
    if len(images) == 0 or images.labels.min() < 0:
        raise ConfigError(f"{setting} needs labels, but only some images of {images.name} have one; set it to 0")
    what, codes = _groups(images, preferred)
    return what, codes, np.unique(codes)


def _apart(images: ImageSet, codes: NDArray[np.int64], chosen: NDArray[np.int64]) -> tuple[ImageSet, ImageSet]:
    away = np.isin(codes, chosen)
    stays, taken_away = images.subset(np.flatnonzero(~away)), images.subset(np.flatnonzero(away))
    check_disjoint(stays.present_classes(), taken_away.present_classes(), images.name)
    return stays, taken_away


def _groups(images: ImageSet, preferred: str | None) -> tuple[str, NDArray[np.int64]]:
    """Return what is taken away, in words, and the group of every image."""
    for name in (preferred, next(iter(images.groupings), None)):
        if name and name in images.groupings:
            codes = images.groupings[name].codes
            if len(np.unique(codes)) > 1 and _class_disjoint(codes, images.labels):
                return f"groups by {name}", codes
    return "classes", images.labels


def _class_disjoint(codes: NDArray[np.int64], labels: NDArray[np.int64]) -> bool:
    pairs = np.unique(np.stack([labels, codes]), axis=1)
    return bool(pairs.shape[1] == len(np.unique(labels)))
