"""Folder: the user's own images, arranged in folders or named by a manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np

from fedmetric.data.base import UNLABELLED, Allocate, Dataset, ImageSet, Skipped, Source, first_reasons
from fedmetric.data.colour import channels_of
from fedmetric.data.decode import MAX_SKIPPED_SHARE, decode_files
from fedmetric.data.holdout_classes import classes_by_hash, classes_named, classes_of_split
from fedmetric.data.layout import IN_WORDS, Listing, list_folder
from fedmetric.data.listing import grouping, listing_key, table
from fedmetric.data.manifest import read_manifest
from fedmetric.errors import DataError
from fedmetric.options import Fraction
from fedmetric.registry import sources


@sources.register("folder")
class Folder(Source):
    """Read class/image, client/class/image, unlabelled images, or a CSV manifest, and say in notes what was understood.

    The grouping "client" exists where the layout or the manifest names clients. A class that several clients have is
    one class. Sets without labels, or of one class, have no held-out images.
    """

    def __init__(
        self,
        root: Path | None,
        *,
        path: str = "",
        layout: Literal["auto", "class", "client-class", "unlabelled", "manifest"] = "auto",
        held_out: tuple[str, ...] = (),
        held_out_share: Fraction = 0.2,
        colour: Literal["auto", "grey", "rgb"] = "auto",
        manifest: str = "manifest.csv",
        invert: bool = False,
    ) -> None:
        """Name the folder and how to read it.

        Args:
            root: the folder of the user's data sets.
            path: the folder of the images, absolute or relative to the data folder; empty is the data folder itself.
            layout: how folders are read; auto tells from the manifest's presence and the depth of the images. With
                unlabelled, one level of folders is read as clients.
            held_out: names or globs of the classes that nobody trains on; empty chooses by `held_out_share`.
            held_out_share: share of the classes to hold out, chosen by the hash of their names; a manifest's held-out
                rows come first.
            colour: grey or rgb; auto reads grey unless one of up to 256 images has colour.
            manifest: CSV file with the columns path and, as far as known, label, client and split (train or held-out).
            invert: turn dark ink on white into white ink on black.
        """
        super().__init__(root)
        self.path = path
        self.layout = layout
        self.held_out = held_out
        self.held_out_share = held_out_share
        self.colour = colour
        self.manifest = manifest
        self.invert = invert

    def folder(self) -> Path:
        """Return the folder of the images.

        Raises:
            DataError: it does not exist.
        """
        place = Path(self.path) if Path(self.path).is_absolute() else self.require_root("folder") / self.path
        if not place.is_dir():
            raise DataError(f"data.path: {place} is no folder")
        return place

    def _list(self) -> Listing:
        place = self.folder()
        if self.layout == "manifest" or (self.layout == "auto" and (place / self.manifest).is_file()):
            listing = read_manifest(place, self.manifest)
        else:
            listing = list_folder(place, self.layout)
        named = len(listing.paths) + len(listing.skipped)
        if not listing.paths or len(listing.skipped) > MAX_SKIPPED_SHARE * named:
            first = first_reasons(listing.skipped)
            raise DataError(
                f"{place}: {len(listing.skipped)} of {named} images cannot be used; {first or 'none is named'}"
            )
        return listing

    def key(self) -> str:
        """Describe the listed files, and the manifest's text; see `Source.key`."""
        listing = self._list()
        text = (self.folder() / self.manifest).read_bytes() if listing.layout == "manifest" else b""
        return f"{listing_key(self.folder(), listing.paths)} {hashlib.sha256(text).hexdigest()}"

    def read(self, image_size: int, allocate: Allocate) -> Dataset:
        """Understand the folder and decode its images; see `Source.read`.

        Raises:
            DataError: too many images are unusable, or the layout cannot be told.
            ConfigError: `held_out` names no class, or every class.
        """
        place, listing = self.folder(), self._list()
        unseen = self._unseen(place.name, listing)
        channels = channels_of(listing.paths, self.colour)
        sets: dict[str, ImageSet] = {}
        skipped: list[Skipped] = list(listing.skipped)
        for split in ("train", "held_out"):
            rows = [i for i, label in enumerate(listing.labels) if (label in unseen) == (split == "held_out")]
            images = allocate(split, (len(rows), image_size, image_size, channels))
            kept, bad = decode_files([listing.paths[i] for i in rows], place, image_size, channels, images, self.invert)
            skipped += bad
            rows = [rows[index] for index in kept]
            labelled = [listing.labels[i] for i in rows]
            classes, _ = table([label for label in labelled if label is not None])
            number = {label: index for index, label in enumerate(classes)}
            labels = np.asarray([UNLABELLED if label is None else number[label] for label in labelled], dtype=np.int64)
            groups = {"client": grouping([listing.clients[i] for i in rows])} if listing.clients else {}
            sets[split] = ImageSet(place.name, images[: len(rows)], labels, classes, groups)
        notes = (understood(listing, unseen, channels), *listing.notes)
        return Dataset(sets["train"], sets["held_out"], tuple(skipped), notes)

    def _unseen(self, name: str, listing: Listing) -> set[str]:
        classes = sorted({label for label in listing.labels if label is not None})
        if "held-out" in listing.splits:
            return classes_of_split(listing.labels, listing.splits, name)
        if self.held_out:
            return classes_named(classes, self.held_out, name)
        return classes_by_hash(classes, self.held_out_share)


def understood(listing: Listing, unseen: set[str], channels: int) -> str:
    """Say in one sentence what was found, such as "12 images, 3 classes, layout class/image, grey; held out: a"."""
    classes = {label for label in listing.labels if label is not None}
    parts = [f"{len(listing.paths):,} images", f"{len(classes):,} classes"]
    if listing.clients:
        parts.append(f"{len(set(listing.clients)):,} clients")
    if missing := sum(label is None for label in listing.labels):
        parts.append(f"{missing:,} without a label")
    parts += [f"layout {IN_WORDS[listing.layout]}", "grey" if channels == 1 else "colour"]
    names = sorted(unseen)
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f"{', '.join(parts)}; held out: {shown or 'none'}"
