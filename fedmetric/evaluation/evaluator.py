"""The evaluator: one encoder in, every figure of the held-out images out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fedmetric.data.base import ImageSet, check_unseen
from fedmetric.evaluation.base import Embed, Score
from fedmetric.evaluation.diagnostics import diagnostics
from fedmetric.evaluation.embeddings import Distance, check_embeddings, embed_images
from fedmetric.evaluation.episodes import parse_sizes
from fedmetric.evaluation.fewshot import few_shot
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.retrieval import retrieval_scores
from fedmetric.evaluation.transfer import transfer_scores

if TYPE_CHECKING:
    from fedmetric.config.experiment import Evaluation


class Evaluator:
    """Measures encoders on images of classes that none of them was trained on.

    Every encoder meets the same images in the same order, the same episodes and the same split, so two rows of a report
    differ by the encoder alone.
    """

    def __init__(
        self,
        images: ImageSet,
        settings: Evaluation,
        seed: int,
        distance: Distance = "cosine",
        *,
        trained_hashes: Sequence[str] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        """Check that the classes are unseen before anything is measured.

        Args:
            images: the held-out images; those without a label take part in the diagnostics only.
            settings: the experiment's evaluation section.
            seed: the experiment's seed.
            distance: of retrieval and few-shot; nearest-neighbour voting is by cosine always.
            trained_hashes: `class_hash` of every class that the encoder was trained on, as its checkpoint lists them.
            device: where encoders compute.

        Raises:
            DataError: a class is among `trained_hashes`.
        """
        check_unseen(trained_hashes, images.present_classes(), images.name)
        self.images = images
        self.settings = settings
        self.seed = seed
        self.distance: Distance = distance
        self.device = device
        self._labelled = np.flatnonzero(images.labels >= 0)

    @property
    def num_unlabelled(self) -> int:
        """Images that have no label; every score counts them as skipped."""
        return len(self.images) - len(self._labelled)

    def embed(self, embed: Embed) -> Tensor:
        """Embed the images once, for `score` and `diagnose`: (N, D) float32 on the CPU.

        Raises:
            DataError: the encoder gives NaN, infinite or all-zero rows.
        """
        embeddings = embed_images(embed, self.images.images, device=self.device)
        if len(embeddings):
            check_embeddings(embeddings, f"{self.images.name}: the embeddings")
        return embeddings

    def score(self, embeddings: Tensor, *, transfer: bool, distance: Distance | None = None) -> dict[str, Score]:
        """Measure embeddings of all images.

        Args:
            embeddings: (N, D) float, row i of image i.
            transfer: also fit the nearest-neighbour and linear classifiers, which take longest.
            distance: that the encoder was trained for; by default the evaluator's.

        Returns:
            The names of `retrieval.METRICS`, `fewshot_*` as the settings ask, and with `transfer` also `knn_*` and
            `linear_*`; null where there is nothing to measure.
        """
        known = Labelled(embeddings[torch.from_numpy(self._labelled)], self.images.labels[self._labelled])
        distance = self.distance if distance is None else distance
        scores = retrieval_scores(known, distance)
        for text in self.settings.few_shot:
            n_way, n_shot = parse_sizes(text)
            scores[f"fewshot_{text}"] = few_shot(
                known,
                n_way,
                n_shot,
                n_query=self.settings.queries,
                n_episodes=self.settings.episodes,
                seed=self.seed,
                distance=distance,
            )
        if transfer:
            scores |= transfer_scores(
                known, seed=self.seed, neighbours=self.settings.neighbours, temperature=self.settings.temperature
            )
        return {name: replace(score, skipped=score.skipped + self.num_unlabelled) for name, score in scores.items()}

    def diagnose(self, embeddings: Tensor) -> dict[str, Score]:
        """Measure the embedding space itself; see `diagnostics`."""
        return diagnostics(embeddings, self.images.labels, seed=self.seed)

    def __call__(self, embed: Embed, *, transfer: bool, distance: Distance | None = None) -> dict[str, Score]:
        """Embed the images and `score` them."""
        return self.score(self.embed(embed), transfer=transfer, distance=distance)

    def evaluate_rows(
        self, rows: Mapping[str, Embed], distances: Mapping[str, Distance] | None = None
    ) -> dict[str, dict[str, Score]]:
        """Measure several encoders in full, such as {"trained": ..., "random": ..., "pixels": pixels}.

        Args:
            rows: the encoders.
            distances: of those that were trained for another than the evaluator's.
        """
        own = distances or {}
        return {name: self(embed, transfer=True, distance=own.get(name)) for name, embed in rows.items()}
