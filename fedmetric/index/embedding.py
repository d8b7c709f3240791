"""Embed image files with a model, as its own images were read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from pathlib import Path

import numpy as np
from torch import Tensor
from torch.nn import functional

from fedmetric.data.base import Images, Skipped
from fedmetric.data.decode import decode_image
from fedmetric.errors import DataError
from fedmetric.evaluation.embeddings import embed_images
from fedmetric.evaluation.encoders import mirrored
from fedmetric.export import Model
from fedmetric.index.rows import Rows, Stamp
from fedmetric.registry import sources
from fedmetric.training.site import compute_device

BATCH = 256
NO_DIRECTION = "the model gives it no direction: an embedding of zeros, or with NaN"


def inverts(model: Model) -> bool:
    """Return whether the model's own images were turned from dark ink on white into white ink on black."""
    data = model.experiment.data
    return bool(data.options().get("invert", sources[data.name].traits.get("inverts", False)))


class FileEncoder:
    """A model that takes files; it averages an image and its mirror image where it was evaluated so."""

    def __init__(self, model: Model, invert: bool) -> None:
        """Take a model, and whether dark ink on white is turned into white ink on black."""
        self.model = model
        self.invert = invert

    def read(self, path: Path) -> Images:
        """Decode one file: (H, W, C) uint8.

        Raises:
            ValueError, OSError: it cannot be used; the message is the reason.
        """
        return decode_image(path, self.model.experiment.image_size, self.model.channels, self.invert)

    def embed_all(self, paths: Sequence[Path]) -> Tensor:
        """Embed files of which none may fail, at least one: (N, D) float32 on the CPU.

        Raises:
            DataError: a file cannot be used, or the model gives it no direction; names it and the reason.
        """
        decoded = []
        for path in paths:
            try:
                decoded.append(self.read(path))
            except (ValueError, OSError) as error:
                raise DataError(f"{path}: {error}") from error
        found = self.embed(np.stack(decoded))
        for path, has in zip(paths, has_direction(found), strict=True):
            if not has:
                raise DataError(f"{path}: {NO_DIRECTION}")
        return found

    def embed(self, images: Images) -> Tensor:
        """Embed decoded images, on the GPU if there is one: (N, H, W, C) uint8 to (N, D) float32 on the CPU.

        Rows have unit norm, but for those without a direction: all zero, or not finite.
        """
        device = compute_device()
        embed = self.model.embedder.to(device).embed
        mirror = self.model.experiment.evaluation.mirror
        found = embed_images(mirrored(embed) if mirror else embed, images, BATCH, device)
        return functional.normalize(found, dim=1) if mirror else found

    def embed_files(self, stamps: Sequence[Stamp], root: Path) -> tuple[Rows, list[Skipped]]:
        """Embed those of some files that can be used, all decoded at once.

        Args:
            stamps: of the files.
            root: the folder that they lie in.

        Returns:
            Their rows, and the files that cannot be used.
        """
        kept: list[Stamp] = []
        decoded: list[Images] = []
        skipped: list[Skipped] = []
        for stamp in stamps:
            try:
                decoded.append(self.read(root / stamp.path))
                kept.append(stamp)
            except (ValueError, OSError) as error:
                skipped.append(Skipped(stamp.path, str(error)))
        if not kept:
            return Rows.none(), skipped
        found = self.embed(np.stack(decoded))
        directed = has_direction(found)
        skipped += [Skipped(stamp.path, NO_DIRECTION) for stamp in compress(kept, (not has for has in directed))]
        return Rows(tuple(compress(kept, directed)), found[directed].numpy()), skipped


def has_direction(embeddings: Tensor) -> list[bool]:
    """Return of each row of (N, D) float whether it is finite and not all zero."""
    found: list[bool] = (embeddings.isfinite().all(dim=1) & embeddings.any(dim=1)).tolist()
    return found
