"""An index that can be searched: the embeddings of a folder of images, and the model that made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from fedmetric.errors import DataError, FedmetricError, UsageError
from fedmetric.evaluation.embeddings import check_embeddings
from fedmetric.export import Model, load_model
from fedmetric.index.embedding import FileEncoder
from fedmetric.index.nearest import Gallery
from fedmetric.index.rows import Rows
from fedmetric.index.store import About, Store


@dataclass(frozen=True)
class Hit:
    """One image that was found.

    Attributes:
        path: in the folder that was indexed.
        distance: to the query, by the distance that the model was trained for; 0 is the same.
    """

    path: str
    distance: float


@dataclass(frozen=True)
class Index:
    """Images of a folder by their embeddings.

    Attributes:
        model: the encoder and its distance.
        rows: paths and embeddings, in the order of the paths.
        root: the folder that was indexed; a search does not need it.
        invert: whether images were turned from dark ink on white into white ink on black.
    """

    model: Model
    rows: Rows
    root: Path
    invert: bool

    @classmethod
    def open(cls, folder: Path) -> Index:
        """Read an index, also while another process brings it up to date.

        Raises:
            UsageError: there is no finished index in the folder.
            FedmetricError: a file of it is missing or damaged.
        """
        store = Store(folder)
        about = store.about()
        while about is not None:
            try:
                return cls._read(store, about)
            except FedmetricError:
                about, before = store.about(), about
                if about == before:  # nobody has replaced it meanwhile
                    raise
        raise UsageError(f"{folder} holds no finished index; build it with 'fedmetric index build'")

    @classmethod
    def _read(cls, store: Store, about: About) -> Index:
        rows, model, settings = store.rows(about), load_model(store.path / about.model), about.settings
        if model.weights_sha256 != settings.weights_sha256:
            raise DataError(f"{store.path / about.model} is not the model of the embeddings; build the index again")
        return cls(model, rows, Path(settings.root), settings.invert)

    @cached_property
    def gallery(self) -> Gallery:
        """The embeddings, ready to be searched."""
        return Gallery(torch.from_numpy(self.rows.vectors), self.model.distance)

    def __len__(self) -> int:
        return len(self.rows)

    def embed(self, paths: Sequence[Path]) -> Tensor:
        """Embed image files, at least one, as those of the index were: (Q, D) float32, for `search`.

        Raises:
            DataError: a file cannot be used, or the model gives it no direction; names it and the reason.
        """
        return FileEncoder(self.model, self.invert).embed_all(paths)

    def search(self, embeddings: Tensor, count: int = 5) -> list[list[Hit]]:
        """Find the nearest images.

        Args:
            embeddings: (Q, D) float, as from `embed`.
            count: images to find for each, at least 1; fewer where the index is smaller.

        Returns:
            For each query its hits, the nearest first; those that are equally near in the order of their paths.

        Raises:
            DataError: embeddings of another shape than those of the index, or without a direction; no count.
        """
        if count < 1:
            raise DataError(f"{count} images cannot be found; count is at least 1")
        dimension = self.rows.vectors.shape[1]
        if embeddings.ndim != 2 or embeddings.shape[1] != dimension:
            raise DataError(
                f"queries of shape {tuple(embeddings.shape)} do not fit embeddings of {dimension} dimensions; embed "
                "them with Index.embed"
            )
        check_embeddings(embeddings, "queries")
        self.model.distance.cpu()  # embedding may have moved it to a GPU
        places, far = self.gallery.nearest(embeddings.cpu(), count)
        return [
            [Hit(self.rows.stamps[place].path, distance) for place, distance in zip(line, away, strict=True)]
            for line, away in zip(places.tolist(), far.tolist(), strict=True)
        ]
