"""A picture of a search: each query beside the images that were found, the nearest first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedmetric.data.decode import decode_image
from fedmetric.index import Hit

SIDE = 96


def draw_found(found: Sequence[tuple[Path, Sequence[Hit]]], root: Path, path: Path) -> None:
    """Draw one line for each query; the place of an image that is no longer there stays empty.

    Args:
        found: at least one query, and what was found for each.
        root: the folder of the images that were found.
        path: the PNG to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 1 + max(len(hits) for _, hits in found)
    figure = Figure(figsize=(1.1 * columns, 1.35 * len(found)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(found), columns, squeeze=False)
    for line, (query, hits) in zip(axes, found, strict=True):
        for axis in line:
            axis.set_axis_off()
        _show(line[0], query, query.name)
        for axis, hit in zip(line[1:], hits, strict=False):
            _show(axis, root / hit.path, f"{hit.distance:.3f}\n{hit.path}")
    figure.savefig(path)


def _show(axis: object, image: Path, title: str) -> None:
    axis.set_title("\n".join(part[-22:] for part in title.split("\n")), fontsize=5)  # type: ignore[attr-defined]
    try:
        axis.imshow(decode_image(image, SIDE, 3))  # type: ignore[attr-defined]
    except (ValueError, OSError):
        return
