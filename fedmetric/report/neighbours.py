"""A picture of retrieval: unseen images beside their nearest neighbours, by pixels and by the trained encoder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fedmetric.data.base import ImageSet
from fedmetric.distances.base import PairDistance, euclidean
from fedmetric.evaluation.embeddings import Distance, normalise, placed, where
from fedmetric.seeds import numpy_generator

RIGHT, WRONG = "#2a9d4a", "#d1495b"
INK = 16
"""Grey images of which half of the pixels are darker are drawn as ink on paper, others, such as photographs, as is."""


@torch.no_grad()
def nearest_images(embeddings: Tensor, queries: np.ndarray, count: int, distance: Distance = "cosine") -> np.ndarray:
    """Return the `count` nearest other images of each query.

    Args:
        embeddings: (N, D) float.
        queries: (Q,) int64 indices of images.
        count: neighbours of each.
        distance: that the encoder was trained for.

    Returns:
        (Q, count) int64 indices.
    """
    (points,), geometry = placed(embeddings, distance=distance)
    rows = torch.from_numpy(queries)
    if isinstance(geometry, PairDistance):
        points = points.to(where(geometry, points))
        apart: Tensor = geometry(points[rows], points).cpu()
    else:
        points = normalise(points.double(), geometry)
        apart = euclidean(points[rows], points)
    apart[torch.arange(len(queries)), rows] = torch.inf
    return apart.topk(count, dim=1, largest=False).indices.numpy()


def draw_neighbours(
    images: ImageSet,
    rows: Mapping[str, Tensor],
    path: Path,
    seed: int,
    num_queries: int = 6,
    count: int = 6,
    distances: Mapping[str, Distance] | None = None,
) -> None:
    """Draw queries of different classes and their neighbours, framed green for the query's class and red for another.

    Args:
        images: labelled images, at least `count` + 1.
        rows: embeddings of all images, (N, D), by the name to show.
        path: the PNG to write.
        seed: draws the queries.
        num_queries: lines of the picture.
        count: neighbours of each query.
        distances: of the rows that are not compared by the cosine.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    generator = numpy_generator(seed, "neighbours picture")
    classes = generator.permutation(np.unique(images.labels[images.labels >= 0]))[:num_queries]
    queries = np.asarray(
        [generator.choice(np.flatnonzero(images.labels == label)) for label in classes], dtype=np.int64
    )
    own = distances or {}
    found = {name: nearest_images(some, queries, count, own.get(name, "cosine")) for name, some in rows.items()}
    columns = 1 + len(rows) * (count + 1)
    figure = Figure(figsize=(0.55 * columns, 0.62 * len(queries) + 0.4), dpi=150)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(queries), columns, squeeze=False)
    show = partial(_show, images, ink=bool(np.median(images.images[queries]) < INK))
    for line, query in enumerate(queries):
        for axis in axes[line]:
            axis.set_axis_off()
        show(int(query), axes[line][0], "#444444")
        for block, name in enumerate(found):
            for place, index in enumerate(found[name][line]):
                same = images.labels[index] == images.labels[query]
                show(int(index), axes[line][2 + block * (count + 1) + place], RIGHT if same else WRONG)
    axes[0][0].set_title("query", fontsize=7)
    for block, name in enumerate(found):
        axes[0][2 + block * (count + 1)].set_title(f"nearest by {name}", fontsize=7, loc="left")
    figure.savefig(path, bbox_inches="tight")


def _show(images: ImageSet, index: int, axis: object, colour: str, *, ink: bool) -> None:
    pixels = images.images[index]
    if pixels.shape[2] == 1:
        axis.imshow(pixels[:, :, 0], cmap="gray_r" if ink else "gray", vmin=0, vmax=255)  # type: ignore[attr-defined]
    else:
        axis.imshow(pixels)  # type: ignore[attr-defined]
    axis.set_axis_on()  # type: ignore[attr-defined]
    axis.set(xticks=[], yticks=[])  # type: ignore[attr-defined]
    for spine in axis.spines.values():  # type: ignore[attr-defined]
        spine.set(color=colour, linewidth=1.8)
