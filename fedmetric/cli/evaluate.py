"""Evaluate an exported model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedmetric.config import load_experiment, parse_experiment
from fedmetric.errors import DataError
from fedmetric.evaluation.encoders import pixels
from fedmetric.evaluation.evaluator import Evaluator
from fedmetric.export import find_model, load_model
from fedmetric.models.embedder import build_embedder
from fedmetric.report.neighbours import draw_neighbours
from fedmetric.training.site import Site, compute_device


def evaluate_model(
    folder: Path, on: str | None, overrides: list[str], picture: Path | None = None
) -> tuple[str, dict[str, Any]]:
    """Measure a model, the pixels and the untrained network on classes it was not trained on.

    Args:
        folder: of a run or of a model.
        on: experiment whose data and evaluation to use; None for the model's own.
        overrides: of that experiment.
        picture: where to draw unseen images beside their nearest neighbours, if anywhere.

    Returns:
        A title and the rows, as in summary.json.

    Raises:
        DataError: the images have other channels than the model takes, or the model was trained on the evaluated
            classes.
    """
    model = load_model(find_model(folder))
    if on:
        target = load_experiment(on, overrides)
    else:
        target = parse_experiment(model.experiment.to_toml(), str(folder), overrides)
    images = Site(target.model_copy(update={"image_size": model.experiment.image_size})).evaluation_images
    if images.channels != model.channels:
        raise DataError(f"{target.data.name} has {images.channels} channels, the model takes {model.channels}")
    device = compute_device()
    evaluator = Evaluator(images, target.evaluation, target.seed, trained_hashes=model.class_hashes, device=device)
    untrained = build_embedder(model.experiment, model.channels).to(device)
    rows = {"trained": model.embedder.to(device).embed, "pixels": pixels, "random": untrained.embed}
    measured = evaluator.evaluate_rows(rows, {"trained": model.distance, "random": untrained.metric()})
    if picture is not None:
        shown = {name: evaluator.embed(rows[name]) for name in ("pixels", "trained")}
        draw_neighbours(images, shown, picture, target.seed)
    plain = {
        row: {name: {"mean": score.mean, "ci95": score.ci95, "n": score.n} for name, score in scores.items()}
        for row, scores in measured.items()
    }
    return f"{folder} on {target.data.name}: {len(images):,} images of unseen classes", plain
