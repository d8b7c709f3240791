"""A real federation: SuperLink and SuperNodes with TLS and keys, on hosts of their own where namespaces can be made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stage import Stage

from fedmetric.config import load_experiment
from fedmetric.simulations.launch import start_run

ALPHABETS = ("Futurama", "Greek", "Korean")
EXPERIMENT = """
name = "three-alphabets"
image_size = 28

[data]
name = "omniglot"
train = ["Futurama", "Greek", "Korean"]
unseen = ["Hebrew"]

[objective]
name = "byol"           # its target stays at the site, on disk, from one process to the next

[federation]
rounds = 2

[evaluation]
every = 0
tasks = ["retrieval"]
"""


SECURE = EXPERIMENT.replace("rounds = 2", 'rounds = 1\nnorm = "group_norm"\n\n[federation.secure]\non = true')


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, real_data_of_module: Path) -> Iterator[Stage]:
    """Return a finished run of three sites, one alphabet each."""
    with finished(tmp_path_factory.mktemp("deployed"), real_data_of_module, EXPERIMENT) as stage:
        yield stage


@contextmanager
def finished(folder: Path, data: Path, experiment: str, seconds: float = 300.0) -> Iterator[Stage]:
    """Run an experiment with three sites until the server ends, within so many seconds."""
    tree = data / "omniglot-py"
    if not tree.is_dir():
        pytest.skip("FEDMETRIC_DATA holds no Omniglot")
    found = {path.name: path for path in tree.glob("images_*/*") if path.name in ALPHABETS}
    for name, path in found.items():
        shutil.copytree(path, folder / "sites" / name)
    stage = Stage(folder, experiment, {name: folder / "sites" / name for name in ALPHABETS})
    try:
        stage.serve()
        stage.join_all()
        stage.finish(seconds=seconds)
        yield stage
    finally:
        stage.close()


def test_separate_machines_give_the_weights_of_one_process(stage: Stage, tmp_path: Path) -> None:
    summary = start_run(load_experiment(str(stage.experiment)), tmp_path / "local", lambda event: None)
    assert stage.summary()["weights_sha256"] == summary["weights_sha256"]
    assert stage.summary()["evaluation"] == summary["evaluation"]


def test_the_run_folder_is_that_of_any_run(stage: Stage) -> None:
    assert (stage.run / "model" / "model.safetensors").exists()
    assert [event["ok"] for event in stage.events("round")] == [3, 3]
    assert "round 2/2  clients 3 ok 0 failed" in stage.log("server")


def test_nothing_at_the_server_names_a_class_a_file_or_a_folder_of_a_site(stage: Stage) -> None:
    """Flower's database, the run folder and every log of the server are searched for "character03" and the paths."""
    places = [stage.deployment, stage.run]
    for path in (path for place in places for path in place.rglob("*") if path.is_file()):
        content = path.read_bytes()
        assert b"character03" not in content or path.name == "experiment.toml", path
        assert str(stage.folder / "sites").encode() not in content, path


def test_what_a_site_keeps_secret_is_readable_by_its_owner_only(stage: Stage) -> None:
    for site in ALPHABETS:
        assert (stage.home(site) / "node.key").stat().st_mode & 0o077 == 0
    for name in ("server.key", "authority.key", "control.secret", "sites.json"):
        assert (stage.deployment / name).stat().st_mode & 0o077 == 0


def test_a_site_that_has_joined_goes_on_without_its_invite(stage: Stage) -> None:
    assert "enrolled: the server knows this site's key" in stage.log("Futurama")
    assert (stage.home("Futurama") / "memory").is_dir()


def test_separate_machines_add_up_moves_that_the_server_never_sees(tmp_path: Path, real_data_of_module: Path) -> None:
    """Masks cancel exactly, so the weights are those of one process; sites sign with the keys that they enrolled.

    Twice as many messages in one round as the other run has in two, each in a process of its own: more patience.
    """
    with finished(tmp_path, real_data_of_module, SECURE, 900.0) as stage:
        summary = start_run(load_experiment(str(stage.experiment)), tmp_path / "local", lambda event: None)
        assert stage.summary()["weights_sha256"] == summary["weights_sha256"]
        assert [(event["ok"], event["failed"]) for event in stage.events("round")] == [(3, 0)]
        for site in ALPHABETS:
            home = stage.home(site)
            left = [json.loads(line)["rows"] for line in (home / "manifest.jsonl").read_text().splitlines()]
            kinds = [{row["kind"] for row in rows} for rows in left]
            assert [sorted(kind - {"metric"}) for kind in kinds] == [
                ["secure aggregation"], ["secure aggregation"], ["masked"], ["secure aggregation"],
            ]  # fmt: skip
            kept = list(home.glob("memory/*/*/aggregation.safetensors"))
            assert [path.stat().st_mode & 0o077 for path in kept] == [0]
