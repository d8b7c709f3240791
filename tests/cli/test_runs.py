"""Runs from the command line, in processes of their own: results, exit codes, signals, sockets."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from command import Command, in_a_process
from tiny import TINY, tiny

NAMES = (
    "recall@1",
    "recall@5",
    "recall@10",
    "map@r",
    "r_precision",
    "mrr",
    "fewshot_5w1s",
    "knn_accuracy",
    "linear_accuracy",
)

NO_NETWORK = """
import sys

def refuse(event, arguments):
    if event == "socket.__new__" and arguments[1] in (2, 10):  # AF_INET, AF_INET6
        raise RuntimeError(f"a network socket was opened: {arguments}")

sys.addaudithook(refuse)
"""

BROKEN = '''
from fedmetric.objectives.simclr import SimCLR

class Broken(SimCLR):
    """Fails at the first step."""

    def forward(self, backbone, batch):
        raise RuntimeError("the camera is on fire")
'''


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_a_run_opens_no_network_socket_in_any_of_its_processes_and_keeps_its_contract(
    experiment: Path, tmp_path: Path
) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(NO_NETWORK)
    process = in_a_process(
        "run", str(experiment), "--set", 'evaluation.few_shot=["5w1s"]', "--workers", "2", "--out", "run", "--json",
        cwd=tmp_path, PYTHONPATH=str(tmp_path / "hook"),
    )  # fmt: skip
    out, err = process.communicate()
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary == json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["schema"], summary["status"], summary["exit_code"], summary["rounds"]) == (1, "done", 0, 2)
    assert set(summary["evaluation"]) == {"trained", "pixels", "random"}
    for row in summary["evaluation"].values():
        for name in NAMES:
            assert set(row[name]) == {"mean", "ci95", "n"}
        assert row["fewshot_5w1s"]["mean"] is None, "four held-out digits have no five ways"
        assert 0 <= row["recall@1"]["mean"] <= 1
    assert "round 2/2  clients 3 ok 0 failed" in err
    assert "\x1b" not in err, "no colours without a terminal"


def test_the_hook_of_the_test_above_can_fail(tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    code = "import socket; socket.socket(socket.AF_INET)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "a network socket was opened" in answer.stderr


def test_a_run_that_loses_its_clients_is_exit_code_5_and_shows_the_first_error(
    experiment: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    process = in_a_process(
        "run", str(experiment), "--set", "objective=broken:Broken", "--workers", "1", "--out", "run",
        cwd=tmp_path, PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    _, err = process.communicate()
    assert process.returncode == 5, err
    assert "the first: client 0, round 1, training: RuntimeError: the camera is on fire" in err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["exit_code"], summary["weights_sha256"]) == ("failed", 5, None)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_with_a_checkpoint_and_resume_finishes_it(
    experiment: Path, tmp_path: Path, command: Command, number: signal.Signals, code: int
) -> None:
    process = in_a_process(
        "run", str(experiment), "--set", "federation.rounds=500", "--set", "evaluation.every=0",
        "--set", "checkpoint_every=100", "--workers", "1", "--out", "run", cwd=tmp_path,
    )  # fmt: skip
    events = tmp_path / "run" / "events.jsonl"
    while process.poll() is None and not (events.is_file() and '"event": "round"' in events.read_text()):
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate()
    assert process.returncode == code, err
    assert "continue with 'fedmetric resume'" in err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["status"], summary["exit_code"]) == ("interrupted", code)
    rounds = summary["rounds"]
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == [f"round-{rounds:04d}"]

    shortened = tiny(f"federation.rounds={rounds}", "evaluation.every=0", "checkpoint_every=100")
    _shorten(tmp_path / "run", shortened.to_toml(), shortened.fingerprint())
    answer = command("resume", str(tmp_path / "run"), "--workers", "1", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["rounds"] == rounds


def _shorten(run: Path, experiment: str, fingerprint: str) -> None:
    """Pretend that the run was to end where it was cut, so that the test need not train 500 rounds."""
    (run / "experiment.toml").write_text(experiment)
    (meta,) = (run / "checkpoints").glob("*/meta.json")
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "fingerprint": fingerprint}))


def test_a_second_run_takes_the_next_free_folder(
    command: Command, experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("run", str(experiment), "--set", "federation.rounds=0", "--workers", "1")
    assert command(*words).code == 0
    assert command(*words).code == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["tiny", "tiny-2"]
    answer = command(*words, "--out", "runs/tiny")
    assert answer.code == 2
    assert "is not empty" in answer.err


def test_a_model_is_evaluated_on_its_own_held_out_classes_and_refused_on_its_training_classes(
    command: Command, experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    assert command("run", str(experiment), "--out", str(run), "--workers", "1").code == 0
    trained = json.loads((run / "summary.json").read_text())["evaluation"]
    answer = command("eval", str(run), "--json")
    assert answer.code == 0, answer.err
    rows = json.loads(answer.out)["evaluation"]
    for name, score in trained["trained"].items():
        assert rows["trained"][name]["mean"] == pytest.approx(score["mean"]), name
    shown = command("eval", str(run / "model")).out
    assert "Recall@1" in shown
    assert "random encoder" in shown

    from fedmetric.data.sources import digits

    monkeypatch.setattr(digits, "HELD_OUT", (0, 2, 4))
    monkeypatch.setenv("FEDMETRIC_CACHE", str(tmp_path / "cache"))
    answer = command("eval", str(run))
    assert answer.code == 4
    assert "the model was trained on 3 of the evaluated classes: digit 0, digit 2, digit 4" in answer.err


def test_a_model_is_not_evaluated_on_images_of_other_channels(
    command: Command, experiment: Path, tmp_path: Path
) -> None:
    import numpy as np
    from PIL import Image

    run = tmp_path / "run"
    command("run", str(experiment), "--out", str(run), "--workers", "1", "--set", "federation.rounds=0")
    for name in ("a", "b", "c", "d", "e"):
        (tmp_path / "colour" / name).mkdir(parents=True)
        for number in range(4):
            pixels = np.random.default_rng(number).integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "colour" / name / f"{number}.png")
    answer = command("eval", str(run), "--on", "folder", "--data", str(tmp_path / "colour"))
    assert answer.code == 4
    assert "folder has 3 channels, the model takes 1" in answer.err


def test_evaluating_what_is_no_model_is_an_error_without_a_traceback(command: Command, tmp_path: Path) -> None:
    answer = command("eval", str(tmp_path))
    assert answer.code == 1
    assert "not a model folder" in answer.err
