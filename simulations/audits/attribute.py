"""Attribute inference: groupings of the images, such as who drew them, that training was not told of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fedmetric.privacy.audit.attribute import attribute_inference
from fedmetric.seeds import numpy_generator
from fedmetric.simulations.audits.finding import Finding
from fedmetric.simulations.audits.subject import Subject

MOST_VALUES, LEAST_IMAGES = 30, 20


def attribute(subject: Subject) -> Iterator[Finding]:
    """Read every grouping with a few values from the embeddings of images that nobody trained on."""
    rows = subject.rows(False)
    images = subject.site.training_images.subset(rows)
    order = numpy_generator(subject.experiment.seed, "images of an attribute").permutation(len(rows))
    train, test = np.sort(order[: len(rows) // 2]), np.sort(order[len(rows) // 2 :])
    for name, grouping in images.groupings.items():
        values, counts = np.unique(grouping.codes, return_counts=True)
        if not 2 <= len(values) <= MOST_VALUES or counts.min() < LEAST_IMAGES:
            note = f"{len(values)} values, the rarest with {counts.min()} images: not measured"
            yield Finding("attribute", "trained", name, None, n=len(rows), note=note)
            continue
        codes = np.searchsorted(values, grouping.codes)
        for what, network in (("trained", subject.model), ("untrained", subject.untrained())):
            found = attribute_inference(network.embed(subject.pixels(rows)), codes, train, test)
            yield Finding(
                "attribute", what, name, found.balanced_accuracy, found.low, found.high, found.baseline, found.ceiling,
                found.num_test, f"{found.num_classes} values",
            )  # fmt: skip
