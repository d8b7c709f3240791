"""Evaluate an exported model, on one data set or on several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedmetric.config import Experiment, load_experiment, parse_experiment
from fedmetric.errors import DataError, UsageError
from fedmetric.evaluation.base import Embed, Score
from fedmetric.evaluation.embeddings import Distance
from fedmetric.evaluation.encoders import pixels
from fedmetric.evaluation.evaluator import Evaluator
from fedmetric.export import Model, load_model
from fedmetric.models.embedder import build_embedder
from fedmetric.report.neighbours import draw_neighbours
from fedmetric.runs import find_model
from fedmetric.training.site import Site, compute_device


def evaluate_model(
    folder: Path,
    on: Sequence[str],
    overrides: list[str],
    picture: Path | None = None,
    by: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Measure a model, the pixels and the untrained network on classes it was not trained on.

    Every data set is checked before any is measured.

    Args:
        folder: of a run or of a model.
        on: experiments whose data and evaluation to use; none for the model's own.
        overrides: of these experiments.
        picture: where to draw unseen images beside their nearest neighbours, if anywhere.
        by: "class" or a grouping of the images: also measure each of its groups.

    Returns:
        For each of `on`, or for the model's own experiment, a "title"; "evaluation", the rows as in summary.json; and
        with `by` "groups", for each row a list of groups with their "name", "images" and scores.

    Raises:
        DataError: the images have other channels than the model takes, the model was trained on evaluated classes, or
            there is no such grouping.
        UsageError: an experiment is named twice, or one picture is asked for of several.
    """
    if len(set(on)) < len(on):
        raise UsageError("--on names an experiment twice; results are told apart by this name")
    if picture is not None and len(on) > 1:
        raise UsageError("--picture draws one data set, but --on was given several times")
    model = load_model(find_model(folder))
    targets = {name: load_experiment(name, overrides) for name in on} or {
        str(folder): parse_experiment(model.experiment.to_toml(), str(folder), overrides)
    }
    evaluators = {name: evaluator_of(model, target) for name, target in targets.items()}
    if by is not None:
        for evaluator in evaluators.values():
            evaluator.grouping(by)
    untrained = build_embedder(model.experiment, model.channels).to(compute_device())
    encoders = {"trained": model.embedder.to(compute_device()).embed, "pixels": pixels, "random": untrained.embed}
    distances = {"trained": model.distance, "random": untrained.metric()}
    found = {}
    for name, evaluator in evaluators.items():
        title = f"{folder} on {targets[name].data.name}: {len(evaluator.images):,} images of unseen classes"
        found[name] = {"title": title} | measured(evaluator, encoders, distances, by)
        if picture is not None:
            shown = {row: evaluator.embed(encoders[row]) for row in ("pixels", "trained")}
            draw_neighbours(evaluator.images, shown, picture, targets[name].seed, distances=distances)
    return found


def evaluator_of(model: Model, target: Experiment) -> Evaluator:
    """Return the evaluator of an experiment's unseen classes, at the image size of the model.

    Raises:
        DataError: see `evaluate_model`.
    """
    images = Site(target.model_copy(update={"image_size": model.experiment.image_size})).evaluation_images
    if images.channels != model.channels:
        raise DataError(f"{target.data.name} has {images.channels} channels, the model takes {model.channels}")
    return Evaluator(images, target.evaluation, target.seed, trained_hashes=model.class_hashes, device=compute_device())


def measured(
    evaluator: Evaluator, encoders: Mapping[str, Embed], distances: Mapping[str, Distance], by: str | None
) -> dict[str, Any]:
    """Measure encoders one after the other, each image embedded once by each; see `evaluate_model`.

    Args:
        evaluator: of one data set.
        encoders: by row.
        distances: of those rows that were trained for one.
        by: see `evaluate_model`.
    """
    rows: dict[str, Any] = {}
    groups: dict[str, Any] = {}
    for row, embed in encoders.items():
        embeddings, distance = evaluator.embed(embed), distances.get(row)
        scores = evaluator.score(embeddings, full=True, distance=distance)
        rows[row] = {name: plain(score) for name, score in scores.items()}
        if by is not None:
            groups[row] = [
                {"name": part.name, "images": part.images} | {name: plain(score) for name, score in part.scores.items()}
                for part in evaluator.breakdown(embeddings, by, distance)
            ]
    return {"evaluation": rows} | ({"groups": groups} if by is not None else {})


def plain(score: Score) -> dict[str, Any]:
    """Return what summary.json holds of a score."""
    return {"mean": score.mean, "ci95": score.ci95, "n": score.n}
