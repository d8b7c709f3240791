"""Start a backbone from trained weights in a local file; nothing is fetched, and nothing is unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fedmetric.arrays import Arrays, load_arrays
from fedmetric.config.experiment import Experiment, Start
from fedmetric.errors import ConfigError, FedmetricError
from fedmetric.runs import ABOUT, WEIGHTS, description_of, find_model

HEADS = ("fc.", "classifier.", "head.", "heads.", "last_linear.", "objective.")
PREFIX = "backbone."


def file_of(settings: Start) -> Path:
    """Return the safetensors file that the section `start` names: itself, or that of a run's or a model's folder.

    Raises:
        ConfigError: there is none, it is of another kind, or it is not the file with the sha256 that is asked for.
    """
    place = Path(settings.weights)
    if place.is_dir():
        place = find_model(place) / WEIGHTS
    if not place.is_file():
        raise ConfigError(f"start.weights: {settings.weights} is no file, and no folder of a run or a model")
    if place.suffix != ".safetensors":
        raise ConfigError(
            f"start.weights: {place} is not a .safetensors file. Files that can run code when they are opened are not "
            "read; convert one that you trust: safetensors.torch.save_file(torch.load('x.pth', weights_only=True), "
            "'x.safetensors')"
        )
    found = sha256_of_file(place)
    if settings.sha256 and settings.sha256 != found:
        raise ConfigError(f"start.weights: {place} has sha256 {found}, the experiment asks for {settings.sha256}")
    return place


def sha256_of_file(place: Path) -> str:
    """Hash a file's bytes."""
    with place.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def with_the_hash_of_its_start(experiment: Experiment) -> Experiment:
    """Write the sha256 of the file that an experiment starts from into it, so that a later run is the same run.

    Raises:
        ConfigError: the file is not there, or is not the one that the experiment names.
    """
    if not experiment.start.weights:
        return experiment
    start = experiment.start.model_copy(update={"sha256": sha256_of_file(file_of(experiment.start))})
    return experiment.model_copy(update={"start": start})


def classes_of_start(settings: Start) -> tuple[str, ...] | None:
    """Return the hashes of the classes that the weights to start from were trained on, sorted.

    Returns:
        None where weights are given and no description of a model stands beside them: nobody knows.

    Raises:
        ConfigError: the file is not there, or its description cannot be read.
    """
    if not settings.weights:
        return ()
    folder = file_of(settings).parent
    if not (folder / ABOUT).is_file():
        return None
    try:
        return tuple(sorted(description_of(folder)["trained_class_hashes"]))
    except FedmetricError as error:
        raise ConfigError(f"start.weights: {error}") from error


def starting_weights(settings: Start, backbone: Mapping[str, np.ndarray]) -> Arrays:
    """Read the weights of a backbone.

    Args:
        settings: the section `start`, with weights.
        backbone: the tensors of the network to start, named "backbone.*".

    Returns:
        An array for each of them. Names in the file may lack "backbone."; a classifier's last layer in it is left out.

    Raises:
        ConfigError: the file lacks a tensor, has one of another shape, or has others.
    """
    place = file_of(settings)
    try:
        arrays = load_arrays(place)
    except FedmetricError as error:
        raise ConfigError(f"start.weights: {error}") from error
    given = {PREFIX + name if PREFIX + name in backbone else name: array for name, array in arrays.items()}
    missing = sorted(set(backbone) - set(given))
    strange = sorted(name for name in set(given) - set(backbone) if not name.startswith(HEADS))
    if missing or strange:
        raise ConfigError(
            f"start.weights: {place} does not fit the model: {len(missing)} tensors are missing {missing[:3]}, "
            f"{len(strange)} are not the model's {strange[:3]}; choose the model that the file was made with"
        )
    for name, array in backbone.items():
        if given[name].shape != array.shape:
            raise ConfigError(
                f"start.weights: {place}: {name} is {given[name].shape}, the model has {array.shape}; the sizes and "
                "channels of images and model must be those that the file was made with"
            )
    return {name: given[name].astype(array.dtype) for name, array in backbone.items()}
