"""The rows of an index: for each image its path, what tells whether the file has changed, and its embedding."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedmetric.arrays import Arrays, load_arrays, save_arrays, sha256_of
from fedmetric.durable import flush
from fedmetric.errors import DataError, FedmetricError


class Stamp(NamedTuple):
    """A file as it was: path in its folder, size in bytes, and when it was last changed, in ns.

    The time is that of the file's record (ctime), which nobody can set back: a file that takes another's place with its
    size and its time of modification is still another one.
    """

    path: str
    size: int
    changed: int

    @classmethod
    def of(cls, path: Path, root: Path) -> Stamp:
        """Return the stamp of a file under a folder."""
        status = path.stat()
        return cls(path.relative_to(root).as_posix(), status.st_size, status.st_ctime_ns)


@dataclass(frozen=True)
class Rows:
    """Images and their embeddings.

    Attributes:
        stamps: (N,) of the files, each once.
        vectors: (N, D) float32, row i of stamp i; (0, 0) without images.
    """

    stamps: tuple[Stamp, ...]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.stamps)

    @classmethod
    def none(cls) -> Rows:
        """Return no rows."""
        return cls((), np.zeros((0, 0), np.float32))

    @cached_property
    def places(self) -> dict[Stamp, int]:
        """The row of each stamp."""
        return {stamp: row for row, stamp in enumerate(self.stamps)}

    def pick(self, stamps: Sequence[Stamp]) -> Rows:
        """Return the rows of these stamps, in this order."""
        if tuple(stamps) == self.stamps:
            return self
        return Rows(tuple(stamps), self.vectors[[self.places[stamp] for stamp in stamps]])

    @classmethod
    def joined(cls, parts: Sequence[Rows]) -> Rows:
        """Return the rows of all parts; of a stamp that several have, the first."""
        filled = [part for part in parts if len(part)]
        if len(filled) == 1:
            return filled[0]
        found = {stamp: part.vectors[row] for part in reversed(filled) for stamp, row in part.places.items()}
        return cls(tuple(found), np.stack(list(found.values()))) if found else cls.none()

    def arrays(self) -> Arrays:
        """Return the rows as named arrays; paths as bytes, parted by zeros."""
        paths = b"\0".join(os.fsencode(stamp.path) for stamp in self.stamps)
        stamps = np.asarray([stamp[1:] for stamp in self.stamps], np.int64).reshape(-1, 2)
        return {"paths": np.frombuffer(paths, np.uint8), "stamps": stamps, "vectors": self.vectors}

    def sha256(self) -> str:
        """Hash stamps and embeddings."""
        return sha256_of(self.arrays())

    def save(self, path: Path) -> None:
        """Write to a temporary name, wait for the disk, and rename: the file is whole or is not there.

        Raises:
            FedmetricError: the disk refuses.
        """
        temporary = path.with_name(f".{path.name}")
        try:
            save_arrays(temporary, self.arrays())
            flush(temporary)
            temporary.replace(path)
        except Exception as error:  # safetensors has a class of its own for a full disk
            raise FedmetricError(f"{path} cannot be written: {error}") from error

    @classmethod
    def load(cls, path: Path) -> Rows:
        """Read what `save` wrote.

        Raises:
            FedmetricError: the file is missing, damaged or of another kind.
        """
        arrays = load_arrays(path)
        if set(arrays) != {"paths", "stamps", "vectors"}:
            raise DataError(f"{path} holds {', '.join(sorted(arrays))}, which are not the rows of an index")
        vectors, numbers = arrays["vectors"], arrays["stamps"].tolist()
        paths = [os.fsdecode(name) for name in arrays["paths"].tobytes().split(b"\0")] if numbers else []
        if not len(paths) == len(numbers) == len(vectors):
            raise DataError(f"{path} has {len(paths)} paths, {len(numbers)} stamps and {len(vectors)} embeddings")
        return cls(tuple(Stamp(name, *stamp) for name, stamp in zip(paths, numbers, strict=True)), vectors)
