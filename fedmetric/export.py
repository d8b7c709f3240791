"""The trained model as files: weights as safetensors beside everything needed to use and to judge them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from fedmetric.arrays import Arrays, load_arrays, save_arrays, sha256_of
from fedmetric.config import Experiment, parse_experiment
from fedmetric.distances.base import PairDistance
from fedmetric.errors import FedmetricError
from fedmetric.models.embedder import Embedder, build_embedder
from fedmetric.registry import distances
from fedmetric.runs import ABOUT, WEIGHTS, description_of


@dataclass(frozen=True)
class Model:
    """A trained network with the experiment that made it.

    Attributes:
        embedder: the network, in eval mode.
        experiment: what trained it.
        channels: channels of the images it takes.
        class_hashes: of the classes it was trained on.
        weights_sha256: `sha256_of` what the federation shared.
        distance: by which its embeddings are to be compared.
    """

    embedder: Embedder
    experiment: Experiment
    channels: int
    class_hashes: tuple[str, ...]
    weights_sha256: str
    distance: PairDistance

    @property
    def distance_name(self) -> str:
        """The name by which the distance is registered, else that of its class."""
        kind = type(self.distance)
        own = (kind.__module__, kind.__name__)
        known = (name for name, entry in distances.items() if (entry.module, entry.attribute) == own)
        return next(known, kind.__name__)


def save_model(
    folder: Path, experiment: Experiment, channels: int, shared: Arrays, class_hashes: tuple[str, ...]
) -> None:
    """Write the weights and their description."""
    folder.mkdir(parents=True, exist_ok=True)
    save_arrays(folder / WEIGHTS, shared)
    about = {
        "experiment": experiment.to_toml(),
        "channels": channels,
        "transform": {"size": experiment.image_size, "range": [0.0, 1.0], "layout": "CHW"},
        "embedding": "backbone output, flattened, unit norm",
        "weights_sha256": sha256_of(shared),
        "trained_class_hashes": list(class_hashes),
    }
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def load_model(folder: Path) -> Model:
    """Read a model folder; heads that its clients did not share have their initial weights.

    Raises:
        FedmetricError: files are missing, or the weights are not those described.
    """
    described = description_of(folder)
    shared = load_arrays(folder / WEIGHTS)
    if sha256_of(shared) != described["weights_sha256"]:
        raise FedmetricError(f"{folder / WEIGHTS} does not match the sha256 in {ABOUT}")
    experiment = parse_experiment(described["experiment"], str(folder / ABOUT))
    embedder = build_embedder(experiment, described["channels"])
    layout = embedder.layout
    embedder.load(
        shared, [name for name in layout.groups if name in shared or name in layout.of("backbone")], str(folder)
    )
    hashes, distance = tuple(described["trained_class_hashes"]), embedder.metric(shared)
    sha256 = described["weights_sha256"]
    return Model(embedder.eval(), experiment, described["channels"], hashes, sha256, distance)
