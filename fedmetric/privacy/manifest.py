"""The manifest: what left each client in each round, as it arrived at the server.

One line for every update, with its size and norm; what updates are made of is written once, when it first appears.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedmetric.arrays import num_bytes
from fedmetric.errors import FedmetricError
from fedmetric.federation.base import Update
from fedmetric.privacy.clipping import flat_norm
from fedmetric.privacy.secure.tables import MASKED

FIGURE_BYTES = 8


class Manifest:
    """An append-only file of what left."""

    def __init__(self, path: Path, covered: str = "") -> None:
        """Name the file; it is made by the first update.

        Args:
            path: JSON lines.
            covered: what the updates are protected by, in words; "" for nothing.
        """
        self.path, self._covered = path, covered
        self._written = {line["what"] for line in read_manifest(path) if "rows" in line} if path.exists() else set()

    def note(self, round: int, update: Update) -> None:
        """Write down one update, as received."""
        rows = contents_of(update)
        what = hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:12]
        lines: list[dict[str, Any]] = []
        if what not in self._written:
            self._written.add(what)
            lines.append({"what": what, "covered": self._covered, "rows": rows})
        floats = {n: a.astype(np.float64) for n, a in update.arrays.items() if np.issubdtype(a.dtype, np.floating)}
        size = num_bytes(update.arrays) + num_bytes(update.extra) + FIGURE_BYTES * (1 + len(update.metrics))
        norm = flat_norm(floats)
        lines.append({"round": round, "client": update.client, "what": what, "bytes": size, "norm": round_to(norm, 6)})
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write("".join(json.dumps(line) + "\n" for line in lines))


def contents_of(update: Update) -> list[dict[str, Any]]:
    """List what an update is made of: kind, name, shape, dtype and bytes of every tensor and figure."""
    rows: list[dict[str, Any]] = []
    first = "masked" if set(update.arrays) == {MASKED} else "weights"
    kinds: tuple[tuple[str, Mapping[str, NDArray[Any]]], ...] = (
        (first, update.arrays), ("beside the weights", update.extra),
    )  # fmt: skip
    for kind, arrays in kinds:
        rows += [
            {"kind": kind, "name": name, "shape": list(array.shape), "dtype": str(array.dtype), "bytes": array.nbytes}
            for name, array in arrays.items()
        ]
    figures = [("num-examples", "int"), *((name, "float") for name in sorted(update.metrics))]
    return rows + [
        {"kind": "metric", "name": name, "shape": [], "dtype": dtype, "bytes": FIGURE_BYTES} for name, dtype in figures
    ]


def read_manifest(path: Path) -> list[dict[str, Any]]:
    """Read all lines; one cut off by a crash is left out.

    Raises:
        FedmetricError: there is no manifest.
    """
    if not path.is_file():
        raise FedmetricError(f"{path.parent} has no manifest: nothing has left a client yet")
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def round_to(value: float, digits: int) -> float:
    """Round to so many significant digits."""
    return float(f"{value:.{digits}g}")
