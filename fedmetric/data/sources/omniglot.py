"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn by 20 people.

Lake, Salakhutdinov, Tenenbaum, Human-level concept learning through probabilistic program induction, Science 2015. The
authors' split is the default: learn on the 30 background alphabets, hold out the 659 characters of the 20 evaluation
alphabets. Any other split into whole alphabets can be named.
"""

from __future__ import annotations

from pathlib import Path

from fedmetric.data.base import Allocate, Dataset, ImageSet, Skipped, Source
from fedmetric.data.decode import decode_files
from fedmetric.data.download import download_or_explain
from fedmetric.data.listing import grouping, listing_key, table
from fedmetric.errors import ConfigError, DataError
from fedmetric.registry import nearest, sources

FOLDERS = {"train": "images_background", "held_out": "images_evaluation"}


@sources.register("omniglot")
class Omniglot(Source):
    """Read the folder tree that torchvision's Omniglot unpacks (omniglot-py), or the same tree elsewhere; ink is 255.

    Groupings: "alphabet" (30 in training), "drawer" (the pair of alphabet and drawer: the same number is another person
    in another alphabet, so 600) and "mixed" (drawer numbers 1 to 20 over all alphabets, which mixes people).
    """

    inverts = True

    def __init__(self, root: Path | None, *, train: tuple[str, ...] = (), unseen: tuple[str, ...] = ()) -> None:
        """Choose the split.

        Args:
            root: the user's data folder.
            train: alphabets to learn from, such as "Greek"; by default the background set.
            unseen: alphabets to hold out; by default the evaluation set.
        """
        super().__init__(root)
        self.alphabets = {"train": tuple(train), "held_out": tuple(unseen)}
        if both := sorted(set(train) & set(unseen)):
            raise ConfigError(f"data.train and data.unseen both name {', '.join(both)}; an alphabet is on one side")

    def _find(self) -> Path | None:
        root = self.require_root("omniglot")
        for place in (root / "omniglot-py", root / "omniglot", root):
            if all((place / folder).is_dir() for folder in FOLDERS.values()):
                return place
        return None

    def _folder(self) -> Path:
        if (found := self._find()) is None:
            root = self.require_root("omniglot")
            both = "{" + ",".join(FOLDERS.values()) + "}"
            download_or_explain(
                "omniglot", root, [place / both for place in (root / "omniglot-py", root / "omniglot", root)]
            )
            found = self._find()
        if found is None:
            raise DataError(f"omniglot: folders are still missing in {self.root} after the download")
        return found

    def _files(self, split: str) -> list[Path]:
        wanted = self.alphabets[split]
        if not wanted:
            return sorted((self._folder() / FOLDERS[split]).glob("*/*/*.png"))
        places = {place.name: place for folder in FOLDERS.values() for place in (self._folder() / folder).iterdir()}
        for name in wanted:
            if name not in places:
                raise DataError(f"omniglot has no alphabet '{name}'{nearest(name, places)}; its folders are the names")
        return sorted(path for name in wanted for path in places[name].glob("*/*.png"))

    def key(self) -> str:
        """Describe the two folders' files; see `Source.key`."""
        return listing_key(self._folder(), [path for split in FOLDERS for path in self._files(split)])

    def read(self, image_size: int, allocate: Allocate) -> Dataset:
        """Decode both splits; see `Source.read`."""
        sets: dict[str, ImageSet] = {}
        skipped: list[Skipped] = []
        for split in FOLDERS:
            paths = self._files(split)
            if not paths:
                raise DataError(f"omniglot: no alphabet/character/*.png in {self._folder() / FOLDERS[split]}")
            images = allocate(split, (len(paths), image_size, image_size, 1))
            kept, bad = decode_files(paths, self._folder(), image_size, 1, images, invert=True)
            skipped += bad
            paths = [paths[index] for index in kept]
            alphabets = [path.parts[-3] for path in paths]
            drawers = [path.stem.rpartition("_")[2] for path in paths]
            classes, labels = table([f"{path.parts[-3]}/{path.parts[-2]}" for path in paths])
            sets[split] = ImageSet(
                "omniglot",
                images[: len(kept)],
                labels,
                classes,
                {
                    "alphabet": grouping(alphabets),
                    "drawer": grouping([f"{a}/{d}" for a, d in zip(alphabets, drawers, strict=True)]),
                    "mixed": grouping([f"drawer {d}" for d in drawers]),
                },
            )
        return Dataset(sets["train"], sets["held_out"], tuple(skipped))
