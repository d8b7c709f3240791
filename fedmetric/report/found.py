"""A picture of a search: each query beside the images that were found, the nearest first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedmetric.data.decode import decode_image
from fedmetric.index import Hit
from fedmetric.report.text import printable

SIDE = 96
MOST = 40
"""Lines, and images in a line, that are drawn."""
TITLE = 22
"""Characters of a path that fit above an image: its last ones."""


def draw_found(found: Sequence[tuple[Path, Sequence[Hit]]], root: Path, path: Path) -> None:
    """Draw one line for each query, `MOST` at most; the place of an image that is no longer there stays empty.

    Args:
        found: at least one query, and what was found for each.
        root: the folder of the images that were found; none outside it is opened.
        path: the PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = [(query, hits[:MOST]) for query, hits in found[:MOST]]
    columns = 1 + max(len(hits) for _, hits in found)
    figure = Figure(figsize=(1.1 * columns, 1.35 * len(found)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(found), columns, squeeze=False)
    for line, (query, hits) in zip(axes, found, strict=True):
        for axis in line:
            axis.set_axis_off()
        _show(line[0], query, query.name)
        for axis, hit in zip(line[1:], hits, strict=False):
            _show(axis, root / hit.path, hit.path, f"{hit.distance:.3f}\n", inside=root)
    figure.savefig(path, format="png")


def _show(axis: Any, image: Path, name: str, above: str = "", inside: Path | None = None) -> None:
    axis.set_title(above + printable(name)[-TITLE:], fontsize=5, parse_math=False)
    try:
        if inside is None or image.resolve().is_relative_to(inside.resolve()):
            axis.imshow(decode_image(image, SIDE, 3))
    except (ValueError, OSError, RuntimeError):  # gone, damaged, or a link to itself
        return
