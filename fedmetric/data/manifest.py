"""Read a manifest: a CSV file that names each image's class, client and split."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath, PureWindowsPath

from fedmetric.data.base import Skipped
from fedmetric.data.layout import Listing
from fedmetric.errors import DataError
from fedmetric.registry import nearest

COLUMNS = ("path", "label", "client", "split")
SPLITS = ("", "train", "held-out")
NO_CLIENT = "no client"


def read_manifest(root: Path, name: str) -> Listing:
    """List the images that a manifest names.

    Rows whose path leaves the folder, or names no file, are skipped and counted.

    Args:
        root: the folder that paths are relative to.
        name: the manifest's name inside it.

    Raises:
        DataError: the manifest cannot be read, lacks the column path, has an unknown column or split, or names an image
            twice.
    """
    file = root / name
    if escapes(name):
        raise DataError(f"data.manifest = '{name}' must lie inside {root}")
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = [column.strip() for column in reader.fieldnames or ()]
            reader.fieldnames = columns
            _check_columns(file, columns)
            rows = [
                (reader.line_num, {key: (value or "").strip() for key, value in row.items() if key}) for row in reader
            ]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: cannot be read as a CSV manifest: {error}") from error
    listing = Listing("manifest")
    seen: set[Path] = set()
    for line, row in rows:
        where = f"{file}, line {line}"
        split, label, path = row.get("split", ""), row.get("label", ""), root / row["path"]
        if split not in SPLITS:
            raise DataError(f"{where}: split '{split}' is neither train nor held-out")
        if split == "held-out" and not label:
            raise DataError(f"{where}: a held-out image needs a label")
        if escapes(row["path"]):
            listing.skipped.append(Skipped(row["path"], "leaves the data folder"))
        elif not path.is_file():
            listing.skipped.append(Skipped(row["path"], "no such file"))
        elif path in seen:
            raise DataError(f"{where}: {row['path']} is named twice")
        else:
            seen.add(path)
            listing.paths.append(path)
            listing.labels.append(label or None)
            listing.clients.append(row.get("client") or NO_CLIENT)
            listing.splits.append(split)
    if set(listing.clients) <= {NO_CLIENT}:
        listing.clients = []
    return listing


def escapes(text: str) -> bool:
    """Return whether a path is empty, absolute, or climbs with '..', by the rules of any system."""
    posix, windows = PurePosixPath(text), PureWindowsPath(text)
    return not text or posix.is_absolute() or bool(windows.anchor) or ".." in posix.parts or ".." in windows.parts


def _check_columns(file: Path, columns: list[str]) -> None:
    for column in columns:
        if column not in COLUMNS:
            raise DataError(
                f"{file}: unknown column '{column}'{nearest(column, list(COLUMNS))}; known: {', '.join(COLUMNS)}"
            )
    if "path" not in columns:
        raise DataError(f"{file}: no column 'path' among {', '.join(columns) or 'none'}; known: {', '.join(COLUMNS)}")
    if len(set(columns)) < len(columns):
        raise DataError(f"{file}: a column is named twice: {', '.join(columns)}")
