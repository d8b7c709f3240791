"""Show what each client would hold before anything is trained: a table, and a picture of clients by classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedmetric.data.base import ImageSet
from fedmetric.data.partitions.base import Indices

MAX_TICKS = 30
MAX_NAME = 24


@dataclass(frozen=True)
class ClientRow:
    """One client of a partition.

    Attributes:
        client: index of the client, from 0.
        name: the natural group it holds, or "client 3" when it holds no single group.
        images: how many images it holds.
        classes: how many classes those have; 0 without labels.
        below_batch: whether it cannot fill one batch.
    """

    client: int
    name: str
    images: int
    classes: int
    below_batch: bool


def partition_table(images: ImageSet, parts: Sequence[Indices], batch_size: int) -> list[ClientRow]:
    """Describe every client of a partition.

    Args:
        images: the training images.
        parts: indices of each client's images.
        batch_size: images in a batch.
    """
    rows = []
    for client, (name, part) in enumerate(zip(client_names(images, parts), parts, strict=True)):
        labels = images.labels[part]
        classes = len(np.unique(labels[labels >= 0]))
        rows.append(ClientRow(client, name, len(part), classes, len(part) < batch_size))
    return rows


def client_names(images: ImageSet, parts: Sequence[Indices]) -> list[str]:
    """Name the clients after the first grouping of which each holds exactly one whole group, else by their number."""
    for grouping in images.groupings.values():
        held = [np.unique(grouping.codes[part]) for part in parts]
        codes = [int(one[0]) for one in held if len(one) == 1]
        if len(codes) == len(parts) == len(set(codes)):
            return [grouping.names[code] for code in codes]
    return [f"client {client}" for client in range(len(parts))]


def class_counts(images: ImageSet, parts: Sequence[Indices]) -> tuple[list[str], NDArray[np.int64]]:
    """Count each client's images of each class.

    Returns:
        The names of the classes that have images, with "no label" last if some image has none, and the counts
        (clients, those classes) int64.
    """
    num_classes = len(images.classes)
    labels = np.where(images.labels < 0, num_classes, images.labels)
    present = np.unique(labels)
    counts = np.stack([np.bincount(labels[part], minlength=num_classes + 1) for part in parts]).astype(np.int64)
    names = [*images.classes, "no label"]
    return [names[index] for index in present], counts[:, present]


def heat_map(images: ImageSet, parts: Sequence[Indices], path: Path) -> None:
    """Draw clients by classes as a PNG, darker for more images, on a logarithmic scale; white is none.

    Args:
        images: the training images.
        parts: indices of each client's images, one client at least.
        path: the file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    classes, counts = class_counts(images, parts)
    height, width = counts.shape
    most = int(counts.max(initial=1))
    figure = Figure(figsize=(min(14, max(5, 2.5 + 0.2 * width)), min(11, max(3, 1.8 + 0.2 * height))), dpi=120)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    drawn = axes.imshow(
        np.ma.masked_equal(counts, 0),
        aspect="auto",
        cmap="viridis_r",
        norm=LogNorm(1, max(2, most)),
        interpolation="nearest",
    )
    bar = figure.colorbar(drawn, ax=axes, label="images")
    bar.minorticks_off()
    ticks = sorted({1, most, *(10**power for power in range(1, 7) if 10**power < most)})
    bar.set_ticks(ticks, labels=[f"{tick:,}" for tick in ticks])
    _label(axes.yaxis, client_names(images, parts))
    _label(axes.xaxis, classes)
    axes.tick_params(axis="x", rotation=90)
    axes.tick_params(labelsize=8)
    axes.set_xlabel(f"{width} classes")
    axes.set_ylabel(f"{height} clients")
    name = _plain(images.name)
    axes.set_title(f"{name}: {len(images):,} images, {height} clients, {width} classes", fontsize=10)
    figure.savefig(path, bbox_inches="tight")


def _label(axis: object, names: Sequence[str]) -> None:
    """Put names on at most `MAX_TICKS` evenly spaced positions of a matplotlib axis."""
    step = -(-len(names) // MAX_TICKS)
    places = list(range(0, len(names), step))
    short = [names[i] if len(names[i]) <= MAX_NAME else names[i][: MAX_NAME - 1] + "…" for i in places]
    axis.set_ticks(places, [_plain(text) for text in short])  # type: ignore[attr-defined]


def _plain(text: str) -> str:
    """Keep matplotlib from reading a name as mathematics."""
    return text.replace("$", r"\$")
