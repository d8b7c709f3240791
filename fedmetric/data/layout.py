"""Understand a folder of images that the user arranged: where classes and clients stand in the paths."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedmetric.data.base import Skipped
from fedmetric.data.decode import IMAGE_ENDINGS
from fedmetric.errors import DataError

DEPTHS = {"class": 2, "client-class": 3}
READ_AS = {1: "unlabelled", 2: "class", 3: "client-class"}
IN_WORDS = {
    "class": "class/image",
    "client-class": "client/class/image",
    "unlabelled": "unlabelled",
    "manifest": "manifest",
}
SPLIT_NAMES = frozenset({"train", "training", "test", "val", "valid", "validation", "eval"})


@dataclass
class Listing:
    """The images of a folder and what their places or the manifest say of them.

    Attributes:
        layout: class, client-class, unlabelled or manifest.
        paths: (N,) the image files.
        labels: (N,) class names; None for an image without.
        clients: (N,) names of the clients; empty if none are known.
        splits: (N,) "train", "held-out" or "" for undecided.
        skipped: files that were named but cannot be used.
        notes: what was understood or left out, one sentence each.
    """

    layout: str
    paths: list[Path] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def list_folder(root: Path, layout: str) -> Listing:
    """List the images under a folder by their depth.

    Args:
        root: the folder.
        layout: class, client-class, unlabelled, or auto to tell from the depth of the images.

    Raises:
        DataError: there are no images, or `auto` finds them at more than one depth or too deep.
    """
    images, notes, skipped = walk(root)
    depths = Counter(len(path.relative_to(root).parts) for path in images)
    if not images:
        raise DataError(f"{root}: no images; known endings: {', '.join(sorted(IMAGE_ENDINGS))}")
    if layout == "auto":
        layout = _from_depths(root, images, depths)
        if layout == "class":
            notes.append("one level of folders was read as classes; if they are clients, set layout = 'unlabelled'")
    if layout in DEPTHS:
        wanted = DEPTHS[layout]
        usable = [path for path in images if len(path.relative_to(root).parts) == wanted]
        if not usable:
            raise DataError(
                f"{root}: layout = '{layout}' ({IN_WORDS[layout]}), but no image lies {wanted - 1} folders deep"
            )
        if len(usable) < len(images):
            notes.append(f"{len(images) - len(usable):,} images were left out: they do not lie at {IN_WORDS[layout]}")
        images = usable
    listing = Listing(layout, images, skipped=skipped, notes=notes, splits=[""] * len(images))
    places = [path.relative_to(root).parts for path in images]
    listing.labels = [place[-2] if layout in DEPTHS else None for place in places]
    if layout == "client-class":
        listing.clients = [place[0] for place in places]
        if {client.lower() for client in listing.clients} <= SPLIT_NAMES:
            names = ", ".join(sorted(set(listing.clients)))
            listing.notes.append(
                f"{names} were read as clients; if they are splits, set path to one of them or use a manifest"
            )
    elif layout == "unlabelled" and len({place[:-1] for place in places}) > 1:
        listing.clients = [place[0] if len(place) > 1 else "." for place in places]
    return listing


def walk(root: Path) -> tuple[list[Path], list[str], list[Skipped]]:
    """Return the image files under a folder in order, notes on what was passed over, and what cannot be reached.

    Hidden files and folders are ignored, other files are counted, links to folders are not followed.
    """
    images: list[Path] = []
    dangling: list[Skipped] = []
    others = links = 0

    def unusable(error: OSError) -> None:
        dangling.append(
            Skipped(Path(error.filename).relative_to(root).as_posix(), f"cannot be listed: {error.strerror}")
        )

    for place, folders, files in os.walk(root, onerror=unusable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links += sum(Path(place, name).is_symlink() for name in folders)
        for name in sorted(files):
            path = Path(place, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() not in IMAGE_ENDINGS:
                others += 1
            elif reason := _no_file(path):
                dangling.append(Skipped(path.relative_to(root).as_posix(), reason))
            else:
                images.append(path)
    notes = [f"{others:,} files that are no images were ignored"] if others else []
    if links:
        notes.append(f"{links:,} links to folders were not followed")
    return images, notes, dangling


def _no_file(path: Path) -> str:
    """Return why there is no file to read, or nothing."""
    try:
        if path.is_file():
            return ""
        return "not a file" if path.exists() else "a link that leads nowhere"
    except OSError as error:
        return f"cannot be reached: {error.strerror}"


def _from_depths(root: Path, images: Sequence[Path], depths: Counter[int]) -> str:
    override = "set layout to class, client-class or unlabelled, or write a manifest"
    if len(depths) > 1:
        example = {depth: next(p for p in images if len(p.relative_to(root).parts) == depth) for depth in depths}
        found = "; ".join(f"{depths[d]:,} like {example[d].relative_to(root).as_posix()}" for d in sorted(depths))
        raise DataError(f"{root}: images lie at different depths ({found}); {override}")
    depth = next(iter(depths))
    if depth not in READ_AS:
        raise DataError(f"{root}: images lie {depth - 1} folders deep, more than client/class/image; {override}")
    return READ_AS[depth]
