"""Decoded images on disk, as memory maps: a second start reads nothing but the pages it needs.

A cache entry is a folder named by the hash of the source, its options, the image size and the source's own key. It
is written under a temporary name and renamed, so that a killed process never leaves half an entry, and two processes
may race.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap

from fedmetric.data.base import Dataset, Grouping, Images, ImageSet, Skipped, Source
from fedmetric.errors import DataError
from fedmetric.registry import Component, sources

FORMAT = 1
SPLITS = ("train", "held_out")


def cache_root() -> Path:
    """Return the cache folder: FEDMETRIC_CACHE, or `fedmetric` under the user's cache folder."""
    given = os.environ.get("FEDMETRIC_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(given) if given else Path(base) / "fedmetric"


def data_root(given: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the folder of the user's data sets: the one given, else FEDMETRIC_DATA, else None.

    Raises:
        DataError: the folder does not exist.
    """
    place = given or os.environ.get("FEDMETRIC_DATA")
    if not place:
        return None
    if not Path(place).is_dir():
        raise DataError(f"data folder {place} does not exist")
    return Path(place)


def load_dataset(component: Component, image_size: int, root: Path | None = None, cache: Path | None = None) -> Dataset:
    """Load a data set from the cache, decoding it first if need be.

    Args:
        component: the section `data` of an experiment.
        image_size: side in pixels.
        root: the folder of the user's data sets; by default `data_root()`.
        cache: the cache folder; by default `cache_root()`.

    Raises:
        DataError: the images are missing or unusable.
    """
    source: Source = sources.build(component, root if root is not None else data_root())
    what = json.dumps([FORMAT, component.model_dump(mode="json"), image_size, source.key()], sort_keys=True)
    folder = (
        cache or cache_root()
    ) / f"{component.name.replace(':', '-')}-{hashlib.sha256(what.encode()).hexdigest()[:24]}"
    if not (folder / "meta.json").is_file():
        _write(source, image_size, folder)
    return _read(folder)


def _write(source: Source, image_size: int, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder.parent))
    try:

        def allocate(split: str, shape: tuple[int, int, int, int]) -> Images:
            return open_memmap(temporary / f"{split}.npy", mode="w+", dtype=np.uint8, shape=shape)

        dataset = source.read(image_size, allocate)
        meta: dict[str, Any] = {
            "skipped": [[item.path, item.reason] for item in dataset.skipped],
            "notes": list(dataset.notes),
        }
        for split in SPLITS:
            images: ImageSet = getattr(dataset, split)
            if isinstance(images.images, np.memmap):
                images.images.flush()
            else:
                np.save(temporary / f"{split}.npy", images.images, allow_pickle=False)
            np.save(temporary / f"{split}-labels.npy", images.labels, allow_pickle=False)
            for number, grouping in enumerate(images.groupings.values()):
                np.save(temporary / f"{split}-grouping{number}.npy", grouping.codes, allow_pickle=False)
            meta[split] = {
                "name": images.name,
                "count": len(images),
                "classes": list(images.classes),
                "groupings": {key: list(value.names) for key, value in images.groupings.items()},
            }
        (temporary / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        try:
            temporary.rename(folder)
        except OSError:
            if not (folder / "meta.json").is_file():  # another process may have been first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read(folder: Path) -> Dataset:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    sets = {}
    for split in SPLITS:
        about = meta[split]
        images = np.load(folder / f"{split}.npy", mmap_mode="r", allow_pickle=False)[: about["count"]]
        labels = np.load(folder / f"{split}-labels.npy", allow_pickle=False)
        groupings = {
            key: Grouping(np.load(folder / f"{split}-grouping{number}.npy", allow_pickle=False), tuple(names))
            for number, (key, names) in enumerate(about["groupings"].items())
        }
        sets[split] = ImageSet(about["name"], images, labels, tuple(about["classes"]), groupings)
    skipped = tuple(Skipped(path, reason) for path, reason in meta["skipped"])
    return Dataset(sets["train"], sets["held_out"], skipped, tuple(meta["notes"]))
