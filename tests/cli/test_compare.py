"""`fedmetric compare`, and a learned distance on its whole way from the experiment file to the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command import Command
from fedmetric.cli.compare import table
from fedmetric.config import Experiment, parse_experiment
from fedmetric.export import load_model, save_model
from fedmetric.models.embedder import build_embedder
from tiny import TINY

MAHALANOBIS = '{name = "triplet", distance = {name = "mahalanobis", rank = 3}}'


def experiment(objective: str = '"simclr"', data: str = '"digits"') -> Experiment:
    return parse_experiment(
        f'image_size = 16\nobjective = {objective}\ndata = {data}\nmodel = {{name = "conv4", width = 4}}'
    )


def save(folder: Path, given: Experiment, channels: int = 1) -> Path:
    save_model(folder, given, channels, build_embedder(given, channels, init_seed=7).shared(), ())
    return folder


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """Three colour files of other sizes than the model's, the third a copy of the first."""
    paths = [tmp_path / name for name in ("first.png", "second.png", "copy.png")]
    for path, seed in zip(paths, (1, 2, 1), strict=True):
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return [str(path) for path in paths]


@pytest.mark.parametrize(
    ("objective", "name"),
    [('"simclr"', "cosine"), ('"triplet"', "euclidean"), (MAHALANOBIS, "mahalanobis")],
)
def test_distances_are_those_of_the_model_and_its_distance(
    command: Command, tmp_path: Path, pictures: list[str], objective: str, name: str
) -> None:
    folder = save(tmp_path / "model", experiment(objective), channels=3)
    answer = command("compare", str(tmp_path), *pictures, "--json")
    assert answer.code == 0, answer.err
    found = json.loads(answer.out)
    assert (found["distance"], found["images"]) == (name, pictures)
    model = load_model(folder)
    shown = [
        np.asarray(Image.open(path).resize((16, 16), Image.Resampling.BILINEAR), np.float32) / 255 for path in pictures
    ]
    embeddings = model.embedder.embed(torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2))
    with torch.no_grad():
        expected = model.distance(embeddings, embeddings)
    assert np.allclose(found["distances"], expected.numpy(), atol=1e-5)
    assert found["distances"][0][2] == pytest.approx(0, abs=1e-6)
    assert found["distances"][0][1] > 1e-4


def test_the_table_names_the_files_and_fits_80_columns(command: Command, tmp_path: Path, pictures: list[str]) -> None:
    save(tmp_path / "model", experiment(), channels=1)
    lines = command("compare", str(tmp_path / "model"), *pictures * 4).out.splitlines()
    assert lines[0].endswith("cosine distance, 0 is the same")
    assert lines[1] == f"   1  {pictures[0]}"
    assert "          1       2       3       4       5       6       7       8       9" in lines[14]
    assert max(len(line) for line in lines[13:]) <= 79


def test_a_matrix_is_written_in_blocks_of_columns() -> None:
    matrix = np.arange(100.0).reshape(10, 10) / 100
    lines = list(table(matrix.tolist()))
    assert len(lines) == 2 * 12
    assert lines[2].split() == ["1", *(f"{value:.3f}" for value in matrix[0, :9])]
    assert lines[14].split() == ["1", "0.090"]


def test_ink_is_turned_as_the_models_own_images_were(command: Command, tmp_path: Path, pictures: list[str]) -> None:
    plain, turned = (
        save(tmp_path / text, experiment(data=f'{{name = "folder", invert = {text}}}')) for text in ("false", "true")
    )

    def distances(folder: Path, *words: str) -> object:
        return json.loads(command("compare", str(folder), *pictures, "--json", *words).out)["distances"]

    assert distances(plain) == distances(turned, "--no-invert")
    assert distances(turned) == distances(plain, "--invert")
    assert distances(turned) != distances(plain)


def test_files_that_cannot_be_used_are_named_with_the_reason(
    command: Command, tmp_path: Path, pictures: list[str]
) -> None:
    save(tmp_path / "model", experiment())
    (tmp_path / "broken.png").write_bytes(b"no image")
    for wrong, reason in (("broken.png", "cannot be decoded"), ("missing.png", "No such file")):
        answer = command("compare", str(tmp_path), pictures[0], str(tmp_path / wrong))
        assert answer.code == 4
        assert f"{wrong}: " in answer.err
        assert reason in answer.err
        assert "Traceback" not in answer.err


def test_one_image_is_not_enough(command: Command, tmp_path: Path, pictures: list[str]) -> None:
    answer = command("compare", str(tmp_path), pictures[0])
    assert answer.code == 2
    assert "1 image given; name two or more to compare" in answer.err


def test_what_is_no_model_is_an_error_without_a_traceback(
    command: Command, tmp_path: Path, pictures: list[str]
) -> None:
    answer = command("compare", str(tmp_path), *pictures)
    assert answer.code == 1
    assert "not a model folder" in answer.err


def test_a_learned_distance_is_trained_exported_and_evaluated_alike(command: Command, tmp_path: Path) -> None:
    path, run = tmp_path / "tiny.toml", tmp_path / "run"
    path.write_text(TINY)
    answer = command(
        "run", str(path), "--out", str(run), "--workers", "1",
        "--set", "objective.name=triplet", "--set", "objective.distance=pair-mlp",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    weights = load_model(run / "model").distance.state_dict()
    start = build_embedder(parse_experiment((run / "experiment.toml").read_text()), 1).metric().state_dict()
    assert any(not torch.equal(value, start[key]) for key, value in weights.items())
    trained = json.loads((run / "summary.json").read_text())["evaluation"]
    rows = json.loads(command("eval", str(run), "--json").out)["evaluation"]
    for row in ("trained", "random", "pixels"):
        for name, score in trained[row].items():
            assert rows[row][name]["mean"] == pytest.approx(score["mean"]), (row, name)
