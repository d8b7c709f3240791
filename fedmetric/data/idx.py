"""Read idx files, the format of MNIST: a magic number, sizes as big-endian 32-bit integers, then bytes."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmetric.errors import DataError

UNSIGNED_BYTE = 8
GZIP = b"\x1f\x8b"
MAX_VALUES = 1 << 32


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an idx file of unsigned bytes, gzipped or not.

    Args:
        path: the file.
        dimensions: how many axes it must have: 3 for images (N, H, W), 1 for labels (N,).

    Raises:
        DataError: the file cannot be read, its magic number is another, or its length does not match its sizes.
    """
    try:
        with open(path, "rb") as raw:
            zipped = raw.read(2) == GZIP
            raw.seek(0)
            with gzip.open(raw) if zipped else raw as stream:
                return _parse(stream.read(4), stream, path, dimensions)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _parse(magic: bytes, stream: object, path: Path, dimensions: int) -> NDArray[np.uint8]:
    wanted = bytes((0, 0, UNSIGNED_BYTE, dimensions))
    if magic != wanted:
        raise DataError(
            f"{path}: starts with {magic.hex() or 'nothing'}, not {wanted.hex()}: no idx file of {dimensions} axes"
        )
    read = stream.read  # type: ignore[attr-defined]
    header = read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise DataError(f"{path}: ends inside its header")
    shape = tuple(int(size) for size in np.frombuffer(header, dtype=">u4"))
    values = math.prod(shape)
    if values > MAX_VALUES:
        raise DataError(f"{path}: claims {values:,} values of shape {shape}, more than {MAX_VALUES:,}")
    body = read(values + 1)
    if len(body) != values:
        found = "more" if len(body) > values else f"{len(body):,}"
        raise DataError(f"{path}: holds {found} bytes, but its header {shape} asks for {values:,}")
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)
