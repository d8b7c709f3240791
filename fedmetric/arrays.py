"""Named weights outside torch: what travels between clients and server; compared, stored and hashed here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from fedmetric.errors import FedmetricError, ProtocolError

Arrays = dict[str, NDArray[Any]]
"""Arrays by name, such as "backbone.block1.conv.weight"; the order carries no meaning."""


def sha256_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Hash names, dtypes, shapes and bytes, in the order of the sorted names, into 64 hex digits."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def num_bytes(arrays: Mapping[str, NDArray[Any]]) -> int:
    """Count the bytes of all arrays, without headers."""
    return sum(array.nbytes for array in arrays.values())


def check_same(given: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]], whose: str) -> None:
    """Compare names both ways, then shapes and dtypes.

    Raises:
        ProtocolError: names what is missing, unexpected or of another shape or dtype.
    """
    missing, unexpected = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    if missing or unexpected:
        raise ProtocolError(f"{whose}: missing arrays {missing[:5]}, unexpected arrays {unexpected[:5]}")
    for name, array in given.items():
        if array.shape != wanted[name].shape or array.dtype != wanted[name].dtype:
            raise ProtocolError(
                f"{whose}: {name} is {array.dtype} {array.shape}, expected {wanted[name].dtype} {wanted[name].shape}"
            )


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as safetensors."""
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, path)


def load_arrays(path: Path) -> Arrays:
    """Read a safetensors file.

    Raises:
        FedmetricError: the file is missing, truncated or not safetensors.
    """
    try:
        return dict(load_file(path))
    except Exception as error:  # safetensors raises its own class, which is not importable under a stable name
        raise FedmetricError(f"{path}: cannot be read as safetensors: {error}") from error
