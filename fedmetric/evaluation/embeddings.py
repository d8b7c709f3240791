"""Embeddings of a whole image set: computed in order, batch by batch, and refused where a score would mislead."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fedmetric.data.base import Images
from fedmetric.distances.base import Geometry, PairDistance
from fedmetric.errors import DataError
from fedmetric.evaluation.base import Embed

Distance = Geometry | PairDistance
"""How two embeddings compare: by a geometry, or by a distance that a network was trained for."""


@torch.no_grad()
def embed_images(embed: Embed, images: Images, batch_size: int = 512, device: torch.device | str = "cpu") -> Tensor:
    """Embed every image, in order; only one batch is ever held as floating point.

    Args:
        embed: the encoder in eval mode; called with (B, C, H, W) float32 in [0, 1] on `device`.
        images: (N, H, W, C) uint8, possibly a read-only memory map.
        batch_size: images embedded at once.
        device: where `embed` computes.

    Returns:
        (N, D) float32 on the CPU; (0, 0) when there are no images.

    Raises:
        DataError: `embed` returned something other than one row for each image.
    """
    embeddings: Tensor | None = None
    for start in range(0, len(images), batch_size):
        part = torch.from_numpy(np.array(images[start : start + batch_size]))
        batch = part.to(device).permute(0, 3, 1, 2).float().div_(255)
        rows = embed(batch)
        if rows.ndim != 2 or len(rows) != len(batch):
            raise DataError(
                f"the encoder returned shape {tuple(rows.shape)} for {len(batch)} images; it must return (B, D)"
            )
        if embeddings is None:
            embeddings = torch.empty(len(images), rows.shape[1], dtype=torch.float32)
        embeddings[start : start + len(batch)] = rows
    return torch.empty(0, 0) if embeddings is None else embeddings


def check_embeddings(embeddings: Tensor, name: str = "embeddings") -> None:
    """Refuse embeddings that have no direction or no finite value.

    Args:
        embeddings: (N, D) float.
        name: what the message calls them.

    Raises:
        DataError: not (N, D) floating point, or rows with NaN, with an infinity or all zero; the message counts each.
    """
    if embeddings.ndim != 2 or not embeddings.is_floating_point():
        raise DataError(f"{name} must be (N, D) floating point, not {tuple(embeddings.shape)} {embeddings.dtype}")
    counts = {
        "NaN": int(embeddings.isnan().any(dim=1).sum()),
        "infinite values": int(embeddings.isinf().any(dim=1).sum()),
        "only zeros": int((embeddings == 0).all(dim=1).sum()),
    }
    if any(counts.values()):
        found = ", ".join(f"{count} with {what}" for what, count in counts.items() if count)
        raise DataError(
            f"{name}: of {len(embeddings)} rows, {found}; a score of them would mean nothing: look at the encoder "
            "(diverged training, or a last layer that can output all zeros)"
        )


def plain(distance: Distance) -> Distance:
    """Return "cosine" for distances that order unit vectors as the cosine does, and any other as it is."""
    if isinstance(distance, PairDistance) and distance.geometry and type(distance).place is PairDistance.place:
        return "cosine"
    return distance


@torch.no_grad()
def placed(*sets: Tensor, distance: Distance) -> tuple[tuple[Tensor, ...], Distance]:
    """Bring sets of embeddings to where a geometry compares them, if there is such a place.

    Args:
        *sets: (N, D) float each, no zero rows.
        distance: a geometry, for which the sets stay as they are; or a distance, whose map is computed in float64.

    Returns:
        The sets, each (N, R), and the geometry; or the sets as they were and the distance where it has no geometry.
    """
    distance = plain(distance)
    if not isinstance(distance, PairDistance) or not distance.geometry:
        return sets, distance
    maps = [distance.place(rows.to(where(distance, rows)).double()).to(rows.device) for rows in sets]
    return tuple(maps), distance.geometry


def where(distance: PairDistance, otherwise: Tensor) -> torch.device:
    """Return the device of a distance's weights, or of a tensor where it has none."""
    return next((weight.device for weight in distance.parameters()), otherwise.device)


def normalise(embeddings: Tensor, distance: Distance = "cosine") -> Tensor:
    """Bring embeddings into the space where their distance is Euclidean.

    Args:
        embeddings: (N, D) float, no zero rows.
        distance: "cosine" scales every row to unit norm, and so does a distance; "euclidean" changes nothing.

    Returns:
        (N, D) float32 or better.
    """
    embeddings = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
    if distance == "euclidean":
        return embeddings
    # Dividing by the largest coordinate first keeps the norm of tiny and of huge rows representable.
    embeddings = embeddings / embeddings.abs().amax(dim=1, keepdim=True)
    length: Tensor = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
    return embeddings / length
