"""A client's own classes, numbered from 0: what it does not hold has no number, no row and no name at it."""

from __future__ import annotations

import numpy as np

from fedmetric.data.base import UNLABELLED, ImageSet


def own_classes(images: ImageSet) -> ImageSet:
    """Number the classes that have an image 0, 1, ... in their order; images without a label keep -1."""
    present = np.unique(images.labels[images.labels >= 0])
    labels = np.where(images.labels >= 0, np.searchsorted(present, images.labels), UNLABELLED)
    names = tuple(images.classes[index] for index in present)
    return ImageSet(images.name, images.images, labels.astype(np.int64), names, images.groupings)
