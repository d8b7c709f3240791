"""Read the pickled batches of CIFAR-10 without letting a pickle run code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from fedmetric.data.base import Images, Labels
from fedmetric.errors import DataError

PIXELS = 3 * 32 * 32
NUM_CLASSES = 10


def _encode(text: str, encoding: str) -> bytes:
    """Stand in for `_codecs.encode`, which Python 3 pickles use for bytes; only latin1 is needed."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r} is not admitted")
    return text.encode("latin1")


def _admitted() -> dict[tuple[str, str], Any]:
    """Return what an array's pickle may name: `_reconstruct` under numpy's old and new module names, ndarray, dtype."""
    reconstruct = np.empty(0, dtype=np.uint8).__reduce__()[0]
    modules = ("numpy.core.multiarray", "numpy._core.multiarray")
    names: dict[tuple[str, str], Any] = {(module, "_reconstruct"): reconstruct for module in modules}
    return names | {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype, ("_codecs", "encode"): _encode}


class ArraysOnlyUnpickler(pickle.Unpickler):
    """Unpickle dicts, lists, numbers, texts and NumPy arrays; refuse every other name a pickle asks for."""

    def find_class(self, module: str, name: str) -> Any:
        """Return an admitted name.

        Raises:
            UnpicklingError: the pickle asks for anything else.
        """
        try:
            return _admitted()[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs") from None

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse references to objects outside the file."""
        raise pickle.UnpicklingError("it refers to objects outside the file")


def read_batch(path: Path) -> tuple[Images, Labels]:
    """Read one batch.

    Returns:
        images (N, 32, 32, 3) uint8 and labels (N,) int64 in 0..9.

    Raises:
        DataError: the file is no pickle of a batch, or names anything but arrays.
    """
    try:
        with open(path, "rb") as stream:
            batch = ArraysOnlyUnpickler(stream, encoding="latin1").load()
    except Exception as error:  # a broken pickle raises almost anything
        raise DataError(f"{path}: refused as a CIFAR-10 batch: {error}") from error
    if not isinstance(batch, dict) or not {"data", "labels"} <= batch.keys():
        raise DataError(f"{path}: not a CIFAR-10 batch: no 'data' and 'labels' inside")
    data, labels = batch["data"], np.asarray(batch["labels"])
    if not (isinstance(data, np.ndarray) and data.dtype == np.uint8 and data.ndim == 2 and data.shape[1] == PIXELS):
        shape = getattr(data, "shape", type(data).__name__)
        raise DataError(
            f"{path}: 'data' must be (N, {PIXELS}) uint8, not {shape} {getattr(data, 'dtype', '')}".rstrip()
        )
    if labels.shape != (len(data),) or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: {len(data)} images but labels of shape {labels.shape}")
    if len(labels) and not (labels.min() >= 0 and labels.max() < NUM_CLASSES):
        raise DataError(f"{path}: labels must lie in 0..{NUM_CLASSES - 1}")
    return data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels.astype(np.int64)
