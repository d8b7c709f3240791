"""Faults injected into a real federation: processes killed and stopped, a full disk, a cut cable, a site that is late.

Two sites with small images. What the weights must be is told by the same federation in one process, undisturbed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import killer
import numpy as np
import pytest
from pictures import draw_classes
from stage import Stage

from fedmetric.arrays import load_arrays
from fedmetric.config import load_experiment
from fedmetric.runs import RunFolder
from fedmetric.simulations.launch import start_run

TESTS = Path(__file__).parent.parent
ARMED = os.pathsep.join(
    [str(TESTS / "deployment" / "killed"), str(TESTS / "deployment"), os.environ.get("PYTHONPATH", "")]
)
CLASSES = {"north": ["ab", "cd", "ef"], "south": ["gh", "ij", "kl"], "unseen": ["mn", "op", "qr"]}
EXPERIMENT = """
name = "faults"
image_size = 16
checkpoint_every = 1
data = {{ name = "folder", path = "{path}", layout = "{layout}", held_out = ["mn", "op", "qr"], colour = "grey" }}
model = {{ name = "conv4", width = 8 }}
objective = {{ name = "byol", hidden_dim = 16, output_dim = 8 }}
federation = {{ rounds = {rounds}, max_skipped = 0, rule = "fedavgm" }}
local = {{ batch_size = 12 }}
evaluation = {{ every = 0, tasks = ["retrieval"] }}
"""


@pytest.fixture
def sites(tmp_path: Path) -> dict[str, Path]:
    """Draw the images of two sites, and the classes that nobody trains on."""
    return {name: draw_classes(tmp_path / "all" / name, classes) for name, classes in CLASSES.items()}


@pytest.fixture
def open_stages() -> Iterator[list[Stage]]:
    """Close, in the end, every federation that a test has set up."""
    found: list[Stage] = []
    yield found
    for stage in found:
        stage.close()


def set_up(folder: Path, sites: dict[str, Path], rounds: int, opened: list[Stage]) -> Stage:
    """Set up a federation of the two sites."""
    unseen = sites["unseen"]
    text = EXPERIMENT.format(path=unseen, layout="class", rounds=rounds)
    opened.append(Stage(folder, text, {name: path for name, path in sites.items() if name != "unseen"}))
    return opened[0]


def undisturbed(folder: Path, sites: dict[str, Path], rounds: int) -> str:
    """Return the hash of the weights of the same federation in one process."""
    place = folder / "local.toml"
    path = sites["unseen"].parent
    place.write_text(EXPERIMENT.format(path=path, layout="client-class", rounds=rounds))
    return str(start_run(load_experiment(str(place)), folder / "local", lambda event: None)["weights_sha256"])


def test_a_server_killed_at_every_point_ends_with_the_weights_of_an_undisturbed_run(
    tmp_path: Path, sites: dict[str, Path], open_stages: list[Stage]
) -> None:
    """One run of nine rounds: in each of the first eight the conducting process is killed at another point."""
    points = [point for point in killer.POINTS if point != "before_the_summary"] + ["before_the_summary"]
    stage = set_up(tmp_path, sites, len(points), open_stages)
    stage.join_all()
    for round, point in enumerate(points, start=1):
        arms = {killer.POINT: point, killer.ROUND: str(round), killer.DONE: str(tmp_path / point), "PYTHONPATH": ARMED}
        server = stage.serve(**arms)
        stage.wait(lambda server=server: server.poll() is not None, f"killed {point}")  # type: ignore[misc]
        assert server.returncode == 1, stage.log("server")
        assert (tmp_path / point).exists(), stage.log("server")
    assert "the process that conducts the run is gone; continue with 'fedmetric serve --resume" in stage.log("server")
    stage.serve()
    assert stage.finish() == undisturbed(tmp_path, sites, len(points))
    assert [event["round"] for event in stage.events("round")] == list(range(1, len(points) + 1))


def test_flowers_server_killed_and_a_site_killed_leave_a_run_that_goes_on(
    tmp_path: Path, sites: dict[str, Path], open_stages: list[Stage]
) -> None:
    stage = set_up(tmp_path, sites, 3, open_stages)
    server = stage.serve()
    stage.join_all()
    stage.wait(lambda: len(stage.events("round")) >= 1, "the first round")
    (superlink,) = [pid for pid in children_named("fedmetric.server.superlink", server.pid)]
    os.kill(superlink, signal.SIGKILL)
    stage.kill("north")
    stage.wait(lambda: server.poll() is not None, "the server notices")
    assert server.returncode == 1, stage.log("server")
    stage.serve()
    stage.join("north")
    assert stage.finish() == undisturbed(tmp_path, sites, 3)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_server_with_a_checkpoint_and_the_run_goes_on(
    number: int, code: int, tmp_path: Path, sites: dict[str, Path], open_stages: list[Stage]
) -> None:
    stage = set_up(tmp_path, sites, 3, open_stages)
    server = stage.serve()
    stage.join_all()
    stage.wait(lambda: len(stage.events("round")) >= 1, "the first round")
    os.kill(server.pid, number)
    stage.wait(lambda: server.poll() is not None, "the server ends", seconds=30)
    assert server.returncode == code, stage.log("server")
    assert stage.summary()["status"] == "interrupted"
    stage.serve()
    assert stage.finish() == undisturbed(tmp_path, sites, 3)


def lost_and_found(stage: Stage) -> bool:
    """Return whether a round went on without the second site and a later one had both again."""
    failed = [event["failed"] for event in stage.events("round")]
    return 1 in failed and failed[-1] == 0


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_a_site_that_hangs_or_dies_is_left_out_of_the_round_and_comes_back(
    number: int, tmp_path: Path, sites: dict[str, Path], open_stages: list[Stage]
) -> None:
    """It takes Flower up to three minutes to give up a task whose process was stopped; rounds go on meanwhile."""
    stage = set_up(tmp_path, sites, 60, open_stages)
    stage.serve("--round-timeout", "45", "--quorum", "1")
    stage.join_all()
    stage.wait(lambda: len(stage.events("round")) >= 1, "the first round")
    stage.kill("south", number)
    stage.wait(lambda: len(stage.events("round")) >= 2, "a round without it")
    if number == signal.SIGSTOP:
        stage.kill("south", signal.SIGCONT)
    else:
        stage.join("south")
    stage.wait(lambda: lost_and_found(stage), "a round with both again", seconds=600)
    reasons = [failure for event in stage.events("round") for failure in event["failures"]]
    assert all(reason.startswith("client 1, round ") for reason in reasons), reasons
    weights = load_arrays(stage.run / "checkpoints" / newest(stage.run) / "shared.safetensors")
    assert all(np.isfinite(array).all() for array in weights.values())


def newest(run: Path) -> str:
    """Return the name of the newest checkpoint."""
    return max(place.name for place in (run / "checkpoints").glob("round-*"))


def test_a_server_without_enough_sites_waits_and_then_says_who_is_missing(
    tmp_path: Path, sites: dict[str, Path], open_stages: list[Stage]
) -> None:
    stage = set_up(tmp_path, sites, 2, open_stages)
    stage.join("north")
    server = stage.serve("--wait", "20")
    stage.wait(lambda: server.poll() is not None, "the server gives up")
    assert server.returncode == 5
    assert "1 of 2 sites are connected after 20 s, 2 are needed; missing: south" in stage.log("server")
    stage.join("south")
    stage.serve()
    assert stage.finish() == undisturbed(tmp_path, sites, 2)


def test_a_cut_cable_is_survived(tmp_path: Path, sites: dict[str, Path], open_stages: list[Stage]) -> None:
    stage = set_up(tmp_path, sites, 3, open_stages)
    if not stage.hosts.apart:
        pytest.skip("network namespaces cannot be made here")
    stage.serve()
    stage.join_all()
    stage.wait(lambda: len(stage.events("round")) >= 1, "the first round")
    stage.hosts.cut("south")
    time.sleep(8)
    stage.hosts.cut("south", down=False)
    assert stage.finish() == undisturbed(tmp_path, sites, 3)


def test_a_full_disk_ends_the_run_clearly_and_keeps_the_checkpoint_before(
    tmp_path: Path, sites: dict[str, Path], open_stages: list[Stage]
) -> None:
    stage = set_up(tmp_path, sites, 3, open_stages)
    stage.run.mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(stage.run)]
    if os.geteuid() or subprocess.run(small, capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        server = stage.serve()
        stage.join_all()
        stage.wait(lambda: len(stage.events("checkpoint")) >= 1, "the first checkpoint")
        fill = stage.run / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={fill}", "bs=4k"], capture_output=True)
        stage.wait(lambda: server.poll() is not None, "the server ends")
        assert server.returncode == 1, stage.log("server")
        assert "no space left on the disk" in stage.log("server").lower()
        fill.unlink()
        assert RunFolder.open(stage.run).summary() is None or stage.summary()["status"] == "failed"
        stage.serve()
        assert stage.finish() == undisturbed(tmp_path, sites, 3)
    finally:
        stage.close()
        subprocess.run(["umount", str(stage.run)], check=True)


def children_named(text: str, root: int) -> list[int]:
    """Return the processes below one whose command line holds a text."""
    from stage import tree_of

    return [pid for pid in tree_of(root) if text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]
