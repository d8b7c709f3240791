"""The model as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fedmetric.arrays import Arrays, load_arrays, save_arrays, sha256_of
from fedmetric.config import parse_experiment
from fedmetric.distances.cosine import Cosine
from fedmetric.distances.mahalanobis import Mahalanobis
from fedmetric.errors import FedmetricError
from fedmetric.export import load_model, save_model
from fedmetric.models.embedder import build_embedder
from fedmetric.runs import ABOUT, WEIGHTS

EXPERIMENT = parse_experiment(
    "image_size = 16\n[model]\nwidth = 4\n[objective]\nhidden_dim = 5\noutput_dim = 3", "m.toml"
)
HASHES = ("00aa", "11bb")


@pytest.fixture
def shared() -> Arrays:
    """Return weights other than the initial ones of the experiment."""
    return build_embedder(EXPERIMENT, 3, init_seed=77).shared()


@pytest.fixture
def folder(tmp_path: Path, shared: Arrays) -> Path:
    save_model(tmp_path / "a" / "model", EXPERIMENT, 3, shared, HASHES)
    return tmp_path / "a" / "model"


def test_a_model_survives_the_way_through_files(folder: Path, shared: Arrays) -> None:
    model = load_model(folder)
    assert sha256_of(model.embedder.shared()) == sha256_of(shared)
    assert (model.experiment, model.channels, model.class_hashes) == (EXPERIMENT, 3, HASHES)
    assert not model.embedder.training
    assert not model.embedder.backbone.training


def test_the_loaded_model_embeds_as_the_saved_one(folder: Path, shared: Arrays) -> None:
    original = build_embedder(EXPERIMENT, 3)
    original.load(shared)
    images = torch.rand((3, 3, 16, 16), generator=torch.Generator().manual_seed(1))
    assert torch.equal(load_model(folder).embedder.embed(images), original.embed(images))


def test_the_description_says_how_to_use_the_weights(folder: Path, shared: Arrays) -> None:
    about = json.loads((folder / ABOUT).read_text())
    assert about["transform"] == {"size": 16, "range": [0.0, 1.0], "layout": "CHW"}
    assert about["embedding"] == "backbone output, flattened, unit norm"
    assert about["weights_sha256"] == sha256_of(shared)
    assert parse_experiment(about["experiment"]) == EXPERIMENT


def test_changed_weights_are_refused(folder: Path) -> None:
    arrays = load_arrays(folder / WEIGHTS)
    name = next(name for name, array in arrays.items() if array.dtype == np.float32)
    arrays[name] = arrays[name] + np.float32(1e-3)
    save_arrays(folder / WEIGHTS, arrays)
    with pytest.raises(FedmetricError, match=rf"{WEIGHTS} does not match the sha256 in {ABOUT}"):
        load_model(folder)


def test_a_folder_without_a_model_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FedmetricError, match="not a model folder: "):
        load_model(tmp_path)
    (folder / ABOUT).write_text("{")
    with pytest.raises(FedmetricError, match="not a model folder: "):
        load_model(folder)


def test_missing_weights_are_refused(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(FedmetricError, match="cannot be read as safetensors"):
        load_model(folder)


LEARNED = parse_experiment(
    'image_size = 16\nmodel = {name = "conv4", width = 4}\n[objective]\nname = "triplet"\n'
    'distance = {name = "mahalanobis", rank = 3}'
)


def test_a_learned_distance_travels_with_the_model(tmp_path: Path) -> None:
    trained = build_embedder(LEARNED, 1, init_seed=77)
    save_model(tmp_path, LEARNED, 1, trained.shared(), HASHES)
    loaded = load_model(tmp_path).distance
    assert isinstance(loaded, Mahalanobis)
    assert torch.equal(loaded.weight, trained.metric().get_parameter("weight"))
    assert not torch.equal(loaded.weight, build_embedder(LEARNED, 1).metric().get_parameter("weight"))


def test_a_distance_that_stayed_at_the_clients_is_not_used(tmp_path: Path) -> None:
    """Rules like FedPer share the backbone alone: the initial weights of the distance mean nothing."""
    trained = build_embedder(LEARNED, 1, init_seed=77)
    save_model(tmp_path, LEARNED, 1, trained.arrays(trained.layout.of("backbone")), HASHES)
    assert isinstance(load_model(tmp_path).distance, Cosine)


def test_a_model_without_a_distance_of_its_own_is_compared_by_cosine(folder: Path) -> None:
    assert isinstance(load_model(folder).distance, Cosine)
