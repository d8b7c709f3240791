"""The tasks that an evaluation may consist of, by the names in evaluation.tasks.

To add one, write its function, put it into `TASKS`, and its name into `TaskName` of `fedmetric.config.experiment`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedmetric.evaluation.base import Score
from fedmetric.evaluation.clustering import clustering_scores
from fedmetric.evaluation.embeddings import Distance
from fedmetric.evaluation.episodes import parse_sizes
from fedmetric.evaluation.fewshot import few_shot
from fedmetric.evaluation.identification import identification_scores
from fedmetric.evaluation.labelled import Labelled
from fedmetric.evaluation.retrieval import retrieval_scores
from fedmetric.evaluation.transfer import transfer_scores
from fedmetric.evaluation.verification import verification_scores

if TYPE_CHECKING:
    from fedmetric.config.experiment import Evaluation

Measure = Callable[[Labelled, "Evaluation", int, Distance], dict[str, Score]]
"""Takes N labelled embeddings, the experiment's evaluation section, its seed and the distance."""


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        measure: returns its scores by name; null where there is nothing to measure.
        slow: takes so long that it is left out between rounds.
    """

    measure: Measure
    slow: bool = False


def _retrieval(images: Labelled, settings: Evaluation, seed: int, distance: Distance) -> dict[str, Score]:
    return retrieval_scores(images, distance)


def _few_shot(images: Labelled, settings: Evaluation, seed: int, distance: Distance) -> dict[str, Score]:
    sizes = {f"fewshot_{text}": parse_sizes(text) for text in settings.few_shot}
    draws = {"n_query": settings.queries, "n_episodes": settings.episodes, "seed": seed}
    return {
        name: few_shot(images, n_way, n_shot, distance=distance, **draws) for name, (n_way, n_shot) in sizes.items()
    }


def _transfer(images: Labelled, settings: Evaluation, seed: int, distance: Distance) -> dict[str, Score]:
    return transfer_scores(images, seed=seed, neighbours=settings.neighbours, temperature=settings.temperature)


def _verification(images: Labelled, settings: Evaluation, seed: int, distance: Distance) -> dict[str, Score]:
    return verification_scores(images, seed=seed, false_accepts=settings.false_accepts, distance=distance)


def _identification(images: Labelled, settings: Evaluation, seed: int, distance: Distance) -> dict[str, Score]:
    return identification_scores(images, seed=seed, distance=distance)


def _clustering(images: Labelled, settings: Evaluation, seed: int, distance: Distance) -> dict[str, Score]:
    return clustering_scores(images, seed=seed, distance=distance)


TASKS: dict[str, Task] = {
    "retrieval": Task(_retrieval),
    "fewshot": Task(_few_shot),
    "transfer": Task(_transfer, slow=True),
    "verification": Task(_verification),
    "identification": Task(_identification),
    "clustering": Task(_clustering, slow=True),
}
"""Every task by its name; a summary lists their scores in this order."""
