"""Evaluate an exported model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedmetric.config import load_experiment
from fedmetric.data.cache import load_dataset
from fedmetric.errors import DataError
from fedmetric.evaluation.encoders import pixels
from fedmetric.evaluation.evaluator import Evaluator
from fedmetric.export import load_model
from fedmetric.models.embedder import build_embedder
from fedmetric.training.site import compute_device


def evaluate_model(folder: Path, on: str | None, overrides: list[str]) -> tuple[str, dict[str, Any]]:
    """Measure a model, the pixels and the untrained network on held-out classes.

    Args:
        folder: of a run or of a model.
        on: experiment whose data section to use; None for the model's own.
        overrides: of that experiment.

    Returns:
        A title and the rows, as in summary.json.

    Raises:
        DataError: the images have other channels than the model takes, or the model was trained on the evaluated
            classes.
    """
    model = load_model(folder / "model" if (folder / "model").is_dir() else folder)
    target = load_experiment(on, overrides) if on else model.experiment
    dataset = load_dataset(target.data, model.experiment.image_size)
    if dataset.held_out.channels != model.channels:
        raise DataError(
            f"{target.data.name} has {dataset.held_out.channels} channels, the model takes {model.channels}"
        )
    device = compute_device()
    evaluator = Evaluator(
        dataset.held_out, target.evaluation, target.seed, trained_hashes=model.class_hashes, device=device
    )
    untrained = build_embedder(model.experiment, model.channels).to(device)
    rows = {"trained": model.embedder.to(device).embed, "pixels": pixels, "random": untrained.embed}
    measured = evaluator.evaluate_rows(rows)
    plain = {
        row: {name: {"mean": score.mean, "ci95": score.ci95, "n": score.n} for name, score in scores.items()}
        for row, scores in measured.items()
    }
    return f"{folder} on {target.data.name}: {len(dataset.held_out):,} images of unseen classes", plain
