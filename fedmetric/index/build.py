"""Build an index, or bring one up to date: only images that are new or have changed are embedded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from fedmetric.data.base import Skipped, first_reasons
from fedmetric.data.layout import walk
from fedmetric.errors import DataError, FedmetricError, UsageError
from fedmetric.export import Model, load_model
from fedmetric.index.embedding import FileEncoder, inverts
from fedmetric.index.rows import Rows, Stamp
from fedmetric.index.store import Settings, Store
from fedmetric.runs import find_model

PART = 1024
"""Images after which embeddings are put aside, so that an interrupted build loses no more."""


@dataclass(frozen=True)
class Built:
    """What a build did.

    Attributes:
        images: in the index now.
        dimension: of their embeddings.
        embedded: images that were embedded now.
        kept: images whose embeddings were there, from the last build or from an interrupted one.
        removed: images of the last build that are gone or have changed.
        skipped: files that cannot be used, and why.
        notes: what was passed over.
    """

    images: int
    dimension: int
    embedded: int
    kept: int
    removed: int
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


def build_index(
    model_folder: Path,
    images: Path,
    out: Path,
    invert: bool | None = None,
    listen: Callable[[int, int], None] = lambda done, wanted: None,
) -> Built:
    """Embed every image under a folder and write the index, or bring it up to date.

    Args:
        model_folder: of a run or of a model.
        images: the folder; its hidden files, and links out of it, are passed over.
        out: the index: a new folder, or the index of these images, by this or by another model.
        invert: see `decode_image`; None for what the model's own data set says, if it says anything.
        listen: called with the images done so far and those to do.

    Raises:
        UsageError: `out` is something else than an index of these images, or another process is building it.
        DataError: no image can be used.
        FedmetricError: there is no model, or the disk refuses.
    """
    root = root_of(images, out)
    place = find_model(model_folder)
    load_model(place)  # what is none is refused before anything is written
    paths, notes, skipped = walk(images)
    stamps, unusable = stamps_of(paths, images)
    skipped += unusable
    store = Store.create(out)
    with store.alone():
        model = load_model(store.take_model(place))
        settings = settings_of(model, root, inverts(model) if invert is None else invert)
        last, earlier = earlier_rows(store, settings)
        known = Rows.joined(earlier)
        wanted = [stamp for stamp in stamps if stamp not in known.places]
        parts = [known]
        encoder = FileEncoder(model, settings.invert)
        for start in range(0, len(wanted), PART):
            part, unusable = encoder.embed_files(wanted[start : start + PART], images)
            store.put_aside(settings, part)
            parts.append(part)
            skipped += unusable
            listen(min(start + PART, len(wanted)), len(wanted))
        found = Rows.joined(parts)
        rows = found.pick([stamp for stamp in stamps if stamp in found.places])
        if not len(rows):
            raise DataError(f"{images}: no image can be used; {first_reasons(skipped) or 'there is none'}")
        store.replace(settings, rows)
    return Built(
        images=len(rows),
        dimension=rows.vectors.shape[1],
        embedded=sum(len(part) for part in parts[1:]),
        kept=len(stamps) - len(wanted),
        removed=len(last.places.keys() - rows.places.keys()),
        skipped=tuple(skipped),
        notes=tuple(notes),
    )


def root_of(images: Path, out: Path) -> str:
    """Return the whole name of the folder of the images.

    Raises:
        DataError: it is no folder, or its name is no text.
        UsageError: it is where the index shall be, or the index there is of another folder.
    """
    try:
        root = str(images.resolve(strict=True))
    except (OSError, RuntimeError) as error:
        raise DataError(f"{images} is no folder of images: {error}") from error
    if not images.is_dir():
        raise DataError(f"{images} is no folder of images")
    try:
        root.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the name of the folder {root!r} is not UTF-8; rename it, or link to it") from error
    if root == str(out.resolve()):
        raise UsageError(f"{out} is the folder of the images; choose another --out")
    about = Store(out).about()
    if about and about.settings.root != root:
        raise UsageError(f"{out} is the index of {about.settings.root}; choose another --out, or remove it")
    return root


def settings_of(model: Model, root: str, invert: bool) -> Settings:
    """Return what decides the embeddings that a model gives the images of a folder."""
    experiment = sha256(model.experiment.to_toml().encode()).hexdigest()
    return Settings(root=root, weights_sha256=model.weights_sha256, experiment_sha256=experiment, invert=invert)


def earlier_rows(store: Store, settings: Settings) -> tuple[Rows, list[Rows]]:
    """Return the rows of the last build, and all that can be used again; what is damaged is embedded anew."""
    about = store.about()
    try:
        last = store.rows(about) if about else Rows.none()
    except FedmetricError:
        last = Rows.none()
    usable = about is not None and about.settings == settings
    return last, [*([last] if usable else []), *store.parts(settings)]


def stamps_of(paths: Sequence[Path], root: Path) -> tuple[list[Stamp], list[Skipped]]:
    """Return the stamps of files in the order of their paths, and those that lead out of the folder or have gone."""
    inside = root.resolve()
    stamps, unusable = [], []
    for path in paths:
        try:
            if not path.resolve().is_relative_to(inside):
                raise ValueError("a link out of the folder")
            stamps.append(Stamp.of(path, root))
        except (OSError, ValueError, RuntimeError) as error:  # of a link to itself, resolve() makes a RuntimeError
            unusable.append(Skipped(path.relative_to(root).as_posix(), str(error)))
    return sorted(stamps), unusable
