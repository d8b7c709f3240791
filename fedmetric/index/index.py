"""An index that can be searched: the embeddings of a folder of images, and the model that made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fedmetric.errors import DataError, UsageError
from fedmetric.export import Model, load_model
from fedmetric.index.embedding import FileEncoder
from fedmetric.index.nearest import nearest
from fedmetric.index.rows import Rows
from fedmetric.index.store import Store


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
        """Read an index.

        Raises:
            UsageError: there is no finished index in the folder.
            FedmetricError: a file of it is missing or damaged.
        """
        store = Store(folder)
        about = store.about()
        if about is None:
            raise UsageError(f"{folder} holds no finished index; build it with 'fedmetric index build'")
        model = load_model(folder / about.model)
        return cls(model, store.rows(about), Path(about.root), about.settings.invert)

    def __len__(self) -> int:
        return len(self.rows)

    def embed(self, paths: Sequence[Path]) -> Tensor:
        """Embed image files as those of the index were: (Q, D) float32, for `search`.

        Raises:
            DataError: a file cannot be used, with the reason; or embeddings without a direction.
        """
        files = FileEncoder(self.model, self.invert)
        return files.embed(files.read_all(paths))

    def search(self, embeddings: Tensor, count: int = 5) -> list[list[Hit]]:
        """Find the nearest images.

        Args:
            embeddings: (Q, D) float, as from `embed`.
            count: images to find for each, at least 1; fewer where the index is smaller.

        Returns:
            For each query its hits, the nearest first; those that are equally near in the order of their paths.

        Raises:
            DataError: embeddings of another shape than those of the index.
        """
        gallery = torch.from_numpy(self.rows.vectors)
        if embeddings.ndim != 2 or embeddings.shape[1] != gallery.shape[1]:
            raise DataError(
                f"queries of shape {tuple(embeddings.shape)} do not fit embeddings of {gallery.shape[1]} dimensions; "
                "embed them with Index.embed"
            )
        places, far = nearest(embeddings, gallery, self.model.distance.cpu(), count)
        return [
            [Hit(self.rows.stamps[place].path, distance) for place, distance in zip(line, away, strict=True)]
            for line, away in zip(places.tolist(), far.tolist(), strict=True)
        ]
