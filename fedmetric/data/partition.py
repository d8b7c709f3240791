"""Divide training images among clients as an experiment asks."""

from __future__ import annotations

from fedmetric.data.base import ImageSet
from fedmetric.data.partitions.base import Indices, Partitioner, check_partition
from fedmetric.registry import Component, partitioners
from fedmetric.seeds import numpy_generator


def partition(component: Component, images: ImageSet, seed: int) -> list[Indices]:
    """Build the partitioner that a section names and apply it.

    Args:
        component: the section `partition` of an experiment.
        images: the training images.
        seed: the experiment's seed; equal seeds give equal partitions.

    Returns:
        One sorted (n,) int64 array of image indices for each client; every image is in exactly one.

    Raises:
        ConfigError: the images cannot be divided as asked.
    """
    divide: Partitioner = partitioners.build(component)
    parts = divide(images, numpy_generator(seed, "partition"))
    check_partition(parts, len(images))
    return parts
