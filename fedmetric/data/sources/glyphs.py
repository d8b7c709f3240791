"""Glyphs: characters drawn from the fonts that come with matplotlib; the default, since it needs no download.

The fonts are DejaVu (Bitstream Vera licence) and STIX (SIL Open Font Licence 1.1), both free to embed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedmetric.data.base import Allocate, Dataset, ImageSet, Source
from fedmetric.data.characters import FAMILIES, HELD_OUT, LEARNED, class_names, font_files
from fedmetric.data.drawing import Jitter, draw_character, open_face, vary
from fedmetric.data.listing import grouping, table
from fedmetric.errors import DataError
from fedmetric.options import Count, Fraction, NonNegative, Whole
from fedmetric.registry import sources
from fedmetric.seeds import numpy_generator

VERSION = 1


@sources.register("glyphs")
class Glyphs(Source):
    """Learn Latin and Greek letters and digits, hold out Cyrillic letters; nothing to download.

    81 characters are learned and the 23 Cyrillic letters without a look-alike are held out, each drawn by 16 faces of 4
    font families with small random variations; white ink on black, one channel. Groupings: "family" (4 clients, who
    hold the same characters in other type) and "face" (16).
    """

    def __init__(
        self,
        root: Path | None,
        *,
        copies: Count = 4,
        held_out_copies: Count = 2,
        rotation: NonNegative = 12.0,
        shear: Fraction = 0.15,
        scale: Fraction = 0.15,
        shift: Fraction = 0.08,
        seed: Whole = 0,
    ) -> None:
        """Choose how many variations of each character are drawn and how far they go.

        Args:
            root: unused; the fonts come with matplotlib.
            copies: drawings of each learned character by each face.
            held_out_copies: drawings of each held-out character by each face.
            rotation: largest rotation either way, in degrees.
            shear: largest slant either way; 0.15 moves the top by 15 % of the height.
            scale: largest growth or shrinkage.
            shift: largest shift, as a share of the image's side.
            seed: draws other variations.
        """
        super().__init__(root)
        self.copies = {"train": copies, "held_out": held_out_copies}
        self.jitter = Jitter(rotation, shear, scale, shift)
        self.seed = seed

    def key(self) -> str:
        """Name the versions of this drawing, of the font files and of the library that draws them."""
        import matplotlib
        import PIL

        return f"glyphs {VERSION}, matplotlib {matplotlib.__version__}, pillow {PIL.__version__}"

    def read(self, image_size: int, allocate: Allocate) -> Dataset:
        """Draw every character with every face; see `Source.read`.

        Raises:
            DataError: the installed matplotlib lacks a font.
        """
        train = self._draw("train", LEARNED, image_size, allocate)
        held_out = self._draw("held_out", HELD_OUT, image_size, allocate)
        return Dataset(train, held_out)

    def _draw(self, split: str, scripts: dict[str, str], image_size: int, allocate: Allocate) -> ImageSet:
        characters, files, copies = class_names(scripts), font_files(), self.copies[split]
        images = allocate(split, (len(characters) * len(files) * copies, image_size, image_size, 1))
        generator = numpy_generator(self.seed, f"glyphs {split}")
        names: list[str] = []
        faces: list[str] = []
        for face, file in files.items():
            if not file.is_file():
                raise DataError(f"glyphs: matplotlib's font {file.name} is not in {file.parent}; reinstall matplotlib")
            font = open_face(file, image_size)
            for name, character in characters:
                ink = draw_character(character, font)
                for _ in range(copies):
                    images[len(names), :, :, 0] = vary(ink, image_size, self.jitter, generator)
                    names.append(name)
                    faces.append(face)
        classes, labels = table(names)
        family_of = {face: family for family, members in FAMILIES.items() for face in members}
        groupings = {"family": grouping([family_of[face] for face in faces]), "face": grouping(faces)}
        return ImageSet("glyphs", images, np.asarray(labels, dtype=np.int64), classes, groupings)
