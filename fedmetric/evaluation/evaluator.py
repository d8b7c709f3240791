"""The evaluator: one encoder in, every figure of the held-out images out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fedmetric.data.base import Grouping, ImageSet, check_unseen
from fedmetric.errors import DataError
from fedmetric.evaluation.base import Embed, Score
from fedmetric.evaluation.breakdown import Part, breakdown
from fedmetric.evaluation.diagnostics import diagnostics
from fedmetric.evaluation.embeddings import Distance, check_embeddings, embed_images
from fedmetric.evaluation.encoders import mirrored
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.reranking import check_rerank, reranked_scores
from fedmetric.evaluation.tasks import TASKS
from fedmetric.registry import nearest

if TYPE_CHECKING:
    from fedmetric.config.experiment import Evaluation


def score_names(settings: Evaluation, *, full: bool = True) -> list[str]:
    """Return the names of all scores that an evaluation gives, in full or between rounds; no images are needed."""
    nothing = ImageSet("nothing", np.zeros((0, 1, 1, 1), np.uint8), np.zeros(0, np.int64), ())
    return list(Evaluator(nothing, settings, seed=0).score(torch.empty(0, 1), full=full))


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
            distance: of all tasks but transfer, whose classifiers have their own.
            trained_hashes: `class_hash` of every class that the encoder was trained on, as its checkpoint lists them.
            device: where encoders compute.

        Raises:
            DataError: a class is among `trained_hashes`, or there are more images than the re-ranking can take.
        """
        check_unseen(trained_hashes, images.present_classes(), images.name)
        self.images = images
        self.settings = settings
        self.seed = seed
        self.distance: Distance = distance
        self.device = device
        self._labelled = np.flatnonzero(images.labels >= 0)
        check_rerank(settings.rerank, len(self._labelled))

    @property
    def num_unlabelled(self) -> int:
        """Images that have no label; every score counts them as skipped."""
        return len(self.images) - len(self._labelled)

    def embed(self, embed: Embed) -> Tensor:
        """Embed the images once, for `score` and `diagnose`: (N, D) float32 on the CPU.

        Raises:
            DataError: the encoder gives NaN, infinite or all-zero rows.
        """
        if self.settings.mirror:
            embed = mirrored(embed)
        embeddings = embed_images(embed, self.images.images, device=self.device)
        if len(embeddings):
            check_embeddings(embeddings, f"{self.images.name}: the embeddings")
        return embeddings

    def score(self, embeddings: Tensor, *, full: bool, distance: Distance | None = None) -> dict[str, Score]:
        """Measure embeddings of all images.

        Args:
            embeddings: (N, D) float, row i of image i.
            full: also do the slow tasks and the re-ranking.
            distance: that the encoder was trained for; by default the evaluator's.

        Returns:
            The scores of each task that the settings name, in the order of `TASKS`; null where there is nothing to
            measure.
        """
        known = self._known(embeddings)
        distance = self.distance if distance is None else distance
        scores: dict[str, Score] = {}
        for name, task in TASKS.items():
            if name in self.settings.tasks and (full or not task.slow):
                scores |= task.measure(known, self.settings, self.seed, distance)
        if full:
            scores |= reranked_scores(known, self.settings.rerank, distance)
        return {name: self._count_unlabelled(score) for name, score in scores.items()}

    def _known(self, embeddings: Tensor) -> Labelled:
        return Labelled(embeddings[torch.from_numpy(self._labelled)], self.images.labels[self._labelled])

    def _count_unlabelled(self, score: Score) -> Score:
        return replace(score, skipped=score.skipped + self.num_unlabelled)

    def breakdown(self, embeddings: Tensor, by: str, distance: Distance | None = None) -> list[Part]:
        """Measure retrieval for each class or group of the images; see `breakdown.breakdown`.

        Args:
            embeddings: (N, D) float, row i of image i.
            by: "class" or the name of one of the images' groupings, such as "alphabet".
            distance: that the encoder was trained for; by default the evaluator's.

        Raises:
            DataError: there is no such grouping; names those there are.
        """
        groups = self.grouping(by)
        distance = self.distance if distance is None else distance
        return breakdown(self._known(embeddings), groups.codes[self._labelled], groups.names, distance)

    def grouping(self, by: str) -> Grouping:
        """Return the classes as groups, or one of the images' groupings.

        Raises:
            DataError: see `breakdown`.
        """
        groupings = {"class": Grouping(self.images.labels, self.images.classes), **self.images.groupings}
        if by not in groupings:
            known = list(groupings)
            raise DataError(
                f"{self.images.name} has no groups by '{by}'{nearest(by, known)}; known: {', '.join(known)}"
            )
        return groupings[by]

    def diagnose(self, embeddings: Tensor) -> dict[str, Score]:
        """Measure the embedding space itself; see `diagnostics`."""
        return diagnostics(embeddings, self.images.labels, seed=self.seed)

    def __call__(self, embed: Embed, *, full: bool, distance: Distance | None = None) -> dict[str, Score]:
        """Embed the images and `score` them."""
        return self.score(self.embed(embed), full=full, distance=distance)

    def evaluate_rows(
        self, rows: Mapping[str, Embed], distances: Mapping[str, Distance] | None = None
    ) -> dict[str, dict[str, Score]]:
        """Measure several encoders in full, such as {"trained": ..., "random": ..., "pixels": pixels}.

        Args:
            rows: the encoders.
            distances: of those that were trained for another than the evaluator's.
        """
        own = distances or {}
        return {name: self(embed, full=True, distance=own.get(name)) for name, embed in rows.items()}
