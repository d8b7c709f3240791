"""Digits: the 1,797 real 8x8 digits that come with scikit-learn."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits

from fedmetric.data.base import Allocate, Dataset, ImageSet, Source
from fedmetric.registry import sources

HELD_OUT = (1, 3, 8, 9)


@sources.register("digits")
class Digits(Source):
    """Learn on 0 2 4 5 6 7, hold out 1 3 8 9; nothing to download.

    Not the default: at 8x8 raw pixels are already close to the ceiling and self-supervision hardly beats them (5-way
    1-shot 61.6 against 59.0, Recall@1 97.5 against 98.3 in a first measurement). There are no natural groups: partition
    with iid or dirichlet.
    """

    def key(self) -> str:
        """Name the data set; it comes with the installed scikit-learn."""
        return "scikit-learn digits"

    def read(self, image_size: int, allocate: Allocate) -> Dataset:
        """Scale intensities 0..16 to 0..255 and repeat pixels up to the wanted size."""
        from PIL import Image

        bunch = load_digits()
        pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)
        sets = {}
        for split, wanted in (("train", [d for d in range(10) if d not in HELD_OUT]), ("held_out", list(HELD_OUT))):
            where = np.flatnonzero(np.isin(bunch.target, wanted))
            images = allocate(split, (len(where), image_size, image_size, 1))
            for row, index in enumerate(where):
                picture = Image.fromarray(pixels[index]).resize((image_size, image_size), Image.Resampling.BILINEAR)
                images[row, :, :, 0] = np.asarray(picture)
            labels = np.searchsorted(wanted, bunch.target[where]).astype(np.int64)
            sets[split] = ImageSet("digits", images, labels, tuple(f"digit {d}" for d in wanted))
        return Dataset(sets["train"], sets["held_out"])
