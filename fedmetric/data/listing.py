"""Lists of files and tables of names, shared by the sources that read folders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fedmetric.data.base import Grouping, Labels


def listing_key(root: Path, paths: Sequence[Path]) -> str:
    """Hash the relative name, size and modification time of every file."""
    digest = hashlib.sha256()
    for path in paths:
        status = path.stat()
        digest.update(f"{path.relative_to(root).as_posix()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def table(names: Sequence[str]) -> tuple[tuple[str, ...], Labels]:
    """Number names in sorted order: the sorted unique names, and (N,) int64 indices into them."""
    unique, codes = np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)
    return tuple(str(name) for name in unique), codes.astype(np.int64).reshape(-1)


def grouping(names: Sequence[str]) -> Grouping:
    """Build a grouping from the group name of every image."""
    unique, codes = table(names)
    return Grouping(codes, unique)
