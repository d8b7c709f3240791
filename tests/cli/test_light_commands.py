"""Commands that look and check, and never train."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import Command
from fedmetric.config import preset_names
from fedmetric.federation.norms import NORM_POLICIES
from fedmetric.registry import REGISTRIES
from fedmetric.simulations.sweep import sweep_names


def test_help_names_every_command(command: Command) -> None:
    answer = command("--help")
    assert answer.code == 0
    commands = "demo run resume eval compare data list config doctor benchmarks sweep deploy serve join leave status"
    for name in commands.split():
        assert name in answer.out


def test_version_is_printed(command: Command) -> None:
    from fedmetric import __version__

    assert command("--version").out.strip() == __version__


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["doctor"],
        ["list"],
        ["list", "--markdown"],
        ["config", "validate", "glyphs", "--set", "local.lrr=1"],
    ],
)
def test_light_commands_never_import_torch(words: list[str]) -> None:
    code = (
        f"import sys; sys.argv = ['fedmetric', *{words!r}]\n"
        "from fedmetric.cli.app import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('loaded', sorted({'torch', 'sklearn', 'flwr', 'lightly'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "loaded []"


def test_list_knows_every_registered_name_and_preset(command: Command) -> None:
    listed = json.loads(command("list", "--json").out)
    names = {name for kind in listed.values() for name in kind}
    others = {*preset_names(), *sweep_names(), *NORM_POLICIES}
    assert names == {name for registry in REGISTRIES for name in registry} | others


def test_list_fits_a_terminal_of_80_columns(command: Command) -> None:
    for words in (["list"], ["list", "objectives"], ["list", "rules"]):
        answer = command(*words)
        assert max(len(line) for line in answer.out.splitlines()) <= 80
    assert "simclr" in command("list").out


def test_methods_are_listed_with_what_they_share_and_where_they_come_from(command: Command) -> None:
    rules = json.loads(command("list", "rules", "--json").out)["rules"]
    assert rules["fedper"]["shares"] == "backbone weights"
    assert "ICML 2020" in rules["scaffold"]["source"]
    assert rules["fedu"]["fits"] == ["byol", "nnclr", "simsiam"]
    objectives = json.loads(command("list", "objectives", "--json").out)["objectives"]
    assert objectives["moco"]["shares"] == "backbone, projector"
    assert objectives["moco"]["decomposable"] is False
    assert "Shares backbone, projector. Not decomposable." in command("list", "objectives").out


def test_an_unknown_kind_names_the_nearest(command: Command) -> None:
    answer = command("list", "objectivs")
    assert answer.code == 2
    assert "did you mean 'objectives'?" in answer.err


def test_config_show_prints_the_resolved_experiment(command: Command) -> None:
    shown = tomllib.loads(command("config", "show", "glyphs", "--set", "local.epochs=3").out)
    assert shown["local"]["epochs"] == 3
    assert shown["evaluation"]["episodes"] == 600


def test_a_wrong_experiment_is_exit_code_4_without_a_traceback(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("seed = 1\n[local]\nepoch = 3\nlr = -1\n")
    answer = command("config", "validate", str(path))
    assert answer.code == 4
    assert f"{path}:3: local.epoch: unknown key; did you mean 'epochs'?" in answer.err
    assert f"{path}:4: local.lr: Input should be greater than 0, not -1" in answer.err
    assert "Traceback" not in answer.err


def test_a_right_experiment_is_fine(command: Command) -> None:
    assert "glyphs: fine (fingerprint" in command("config", "validate", "glyphs").out


def test_config_explain_describes_a_key_and_refuses_an_unknown_one(command: Command) -> None:
    assert "learning rate of the first round" in command("config", "explain", "local.lr").out
    answer = command("config", "explain", "local.lrr")
    assert answer.code == 4
    assert "did you mean" in answer.err


def test_the_schema_is_json(command: Command) -> None:
    assert "properties" in json.loads(command("config", "schema").out)


@pytest.mark.parametrize(
    "words",
    [["frobnicate"], ["run"], ["run", "glyphs", "--engine", "carrier-pigeon"], ["run", "glyphs", "--workers", "0"]],
)
def test_wrong_usage_is_exit_code_2(command: Command, words: list[str]) -> None:
    assert command(*words).code == 2


def test_an_unknown_preset_names_the_nearest(command: Command) -> None:
    answer = command("run", "glyph")
    assert answer.code == 4
    assert "no file and no preset 'glyph'; did you mean 'glyphs'?" in answer.err


def test_a_data_folder_that_does_not_exist_is_refused(command: Command, tmp_path: Path) -> None:
    answer = command("run", "omniglot-alphabets", "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "run"))
    assert answer.code == 4
    assert "does not exist" in answer.err
    assert not (tmp_path / "run").exists()


def test_doctor_reports_versions_cores_disk_and_data(command: Command, tmp_path: Path) -> None:
    (tmp_path / "MNIST").mkdir()
    findings = {row["what"]: row for row in json.loads(command("doctor", "--json", "--data", str(tmp_path)).out)}
    assert findings["torch"]["status"] == "ok"
    assert findings["data sets"]["detail"] == "mnist"
    assert command("doctor").code == 0


def test_doctor_fails_when_a_package_is_missing(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedmetric.cli import doctor

    monkeypatch.setattr(doctor, "REQUIRED", ("torch", "no-such-package-at-all"))
    answer = command("doctor")
    assert answer.code == 1
    assert "no-such-package-at-all" in answer.out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images each of four classes, one of them broken."""
    generator = np.random.default_rng(0)
    root = tmp_path / "images"
    for name in ("ant", "bee", "cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(generator.integers(0, 255, (20, 20, 3), dtype=np.uint8)).save(root / name / f"{number}.png")
    (root / "ant" / "9.png").write_bytes(b"")
    return root


def test_data_inspect_says_what_it_understood_and_what_it_skipped(command: Command, folder: Path) -> None:
    answer = command("data", "inspect", "folder", "--data", str(folder))
    assert answer.code == 0
    assert "train: " in answer.out
    assert "skipped: 1 files" in answer.out
    assert "ant/9.png: empty file" in answer.out
    about = json.loads(command("data", "inspect", "folder", "--data", str(folder), "--json").out)
    assert about["train"]["images"] + about["held_out"]["images"] == 39
    assert about["train"]["shape"] == [32, 32, 3]


def test_data_partition_flags_small_clients_and_writes_only_the_picture(
    command: Command, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    answer = command("data", "partition", "folder", "--data", str(folder), "--preview")
    assert answer.code == 0
    assert "below batch size" in answer.out
    assert "4 clients hold fewer images than local.batch_size=64; they shrink their batch" in answer.out
    assert [path.name for path in Path.cwd().iterdir()] == ["partition.png"]
    rows = json.loads(command("data", "partition", "folder", "--data", str(folder), "--json").out)
    assert len(rows) == 4
    assert all(row["below_batch"] for row in rows)


def test_resuming_what_is_no_run_is_exit_code_2(command: Command, tmp_path: Path) -> None:
    answer = command("resume", str(tmp_path))
    assert answer.code == 2
    assert "is not the folder of a run" in answer.err


def test_a_missing_extra_is_exit_code_3_and_names_the_pip_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from fedmetric.simulations.engines import ray

    monkeypatch.setattr(ray.importlib.util, "find_spec", lambda name: None)
    answer = command("run", "digits", "--engine", "ray", "--out", str(tmp_path / "run"))
    assert answer.code == 3
    assert "pip install 'fedmetric[ray]'" in answer.err


def test_a_folder_of_the_same_name_does_not_hide_a_preset(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "glyphs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert command("config", "validate", "glyphs").code == 0


def test_a_place_that_cannot_be_a_run_folder_is_wrong_usage(command: Command) -> None:
    answer = command("run", "digits", "--out", "/dev/null/run")
    assert answer.code == 2
    assert "cannot be made a run folder" in answer.err


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def method(:", "cannot be loaded"),
        ("def other(): ...", "cannot be loaded: module 'outside' has no attribute 'method'"),
        (
            "def method(in_channels, image_size, *, right=1): ...",
            "cannot be built: got an unexpected keyword argument 'wrong'",
        ),
    ],
)
def test_a_faulty_method_outside_fedmetric_is_a_config_error(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    (tmp_path / "outside.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "outside", raising=False)
    answer = command(
        "run", "digits", "--out", str(tmp_path / "run"), "--workers", "1",
        "--set", "model.name=outside:method", "--set", "model.wrong=1",
    )  # fmt: skip
    assert answer.code == 4
    assert words in answer.err
    assert "Traceback" not in answer.err
