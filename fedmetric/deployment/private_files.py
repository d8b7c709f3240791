"""Files that only their owner may read."""

from __future__ import annotations

import os
from pathlib import Path

OWNER_ONLY = 0o600


def write_private(path: Path, content: bytes) -> None:
    """Write a file with mode 0600 under a temporary name, flush it to disk and rename it.

    The mode is set when the file is made, so that at no moment anybody else may read it.
    """
    temporary = path.with_name(f".{path.name}.writing")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ONLY)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def is_private(path: Path) -> bool:
    """Return whether nobody but the owner may read or write a file."""
    return path.stat().st_mode & 0o077 == 0
