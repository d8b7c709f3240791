"""Strangers, impostors and former members at a running server: all are refused, and the run is as if they were not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pictures import draw_classes
from stage import Stage, free_port

from fedmetric.config import load_experiment
from fedmetric.deployment.certificates import new_node_key, public_key_of
from fedmetric.deployment.private_files import write_private
from fedmetric.simulations.launch import start_run

CLASSES = {"north": ["ab", "cd", "ef"], "south": ["gh", "ij", "kl"], "unseen": ["mn", "op", "qr"]}
EXPERIMENT = """
name = "hostile"
image_size = 16
data = {{ name = "folder", path = "{path}", layout = "{layout}", held_out = ["mn", "op", "qr"], colour = "grey" }}
model = {{ name = "conv4", width = 8 }}
objective = {{ name = "simclr", hidden_dim = 16, output_dim = 8 }}
federation = {{ rounds = 1 }}
local = {{ batch_size = 12 }}
evaluation = {{ every = 0, tasks = ["retrieval"] }}
"""
REFUSAL = "Failed to initialize the connection to the SuperLink"
PROBE = str(Path(__file__).parent / "probe.py")


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Draw the images of two sites, and the classes that nobody trains on."""
    folder = tmp_path_factory.mktemp("images")
    return {name: draw_classes(folder / name, classes) for name, classes in CLASSES.items()}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, sites: dict[str, Path]) -> Iterator[Stage]:
    """Return a server that waits for its two sites; a third, "mallory", has a host but no place in the run."""
    folder = tmp_path_factory.mktemp("hostile")
    text = EXPERIMENT.format(path=sites["unseen"], layout="class")
    honest = {name: path for name, path in sites.items() if name != "unseen"}
    stage = Stage(folder, text, honest | {"mallory": sites["north"]})
    stage.call("deploy", "revoke", "mallory", "-d", str(stage.deployment))
    try:
        stage.serve()
        stage.wait(lambda: stage.events("baselines"), "the server waits for its sites")
        yield stage
    finally:
        stage.close()


def status(stage: Stage, host: str, method: str, path: str, *headers: str, size: int = 0, authority: str = "") -> str:
    """Ask the server something from a host and return the status."""
    ca = authority or str(stage.deployment / "authority.pem")
    words = [sys.executable, PROBE, stage.hosts.address("server"), str(stage.port), ca, method, path, str(size)]
    asked = subprocess.run(stage.hosts.command(host, [*words, *headers]), capture_output=True, text=True)
    return asked.stdout.strip() or asked.stderr


def invite(stage: Stage, site: str) -> Path:
    """Invite a site and return the invite's file."""
    stage.call("deploy", "invite", site, "-d", str(stage.deployment))
    return stage.deployment / "invites" / f"{site}.invite"


def join(stage: Stage, *words: str, code: int = 1) -> str:
    """Try to join from mallory's host."""
    return stage.call("join", *words, code=code, host="mallory")


def ends(stage: Stage, name: str) -> str:
    """Wait until a site gives up, and return what it said."""
    process = stage.processes[name]
    stage.wait(lambda: process.poll() is not None, f"{name} gives up", seconds=90)
    return stage.log(name)


def refused_by_flower(stage: Stage, name: str, home: Path, data: Path) -> None:
    """Start the plain client with a key, past the checks of 'fedmetric join', and see Flower's server refuse it."""
    address = f"{stage.hosts.address('server')}:{stage.port}"
    words = [sys.executable, "-m", "fedmetric.clients", "--data", str(data), "--state", str(home / "memory")]
    words += ["--superlink", address, "--root-certificates", str(home / "authority.pem")]
    words += ["--auth-supernode-private-key", str(home / "node.key"), "--port", str(free_port())]
    log = stage.folder / f"{name}-by-flower.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            stage.hosts.command("mallory", words), stdout=stream, stderr=subprocess.STDOUT, env=stage.environment()
        )
    stage.processes[f"{name}-by-flower"] = process
    stage.wait(lambda: REFUSAL in log.read_text() or process.poll() is not None, "Flower's server refuses", seconds=90)
    stage.kill(f"{name}-by-flower")
    assert REFUSAL in log.read_text()
    assert "SuperNode ID" not in log.read_text()


@pytest.mark.parametrize("path", ["/v1/control/start-run", "/v1/control/list-nodes", "/v1/runtime/acquire-task"])
def test_only_the_servers_own_machine_reaches_control_and_runtime(stage: Stage, path: str) -> None:
    if not stage.hosts.apart:
        pytest.skip("network namespaces cannot be made here")
    secret = (stage.deployment / "control.secret").read_text()
    assert status(stage, "mallory", "POST", path, f"x-fedmetric-control={secret}") == "404"


def test_control_needs_the_secret_even_from_the_servers_own_machine(stage: Stage) -> None:
    words = [sys.executable, PROBE, "127.0.0.1", str(stage.port), str(stage.deployment / "authority.pem")]
    for header in ([], ["x-fedmetric-control=guess"]):
        command = [*words, "POST", "/v1/control/start-run", "0", *header]
        asked = subprocess.run(stage.hosts.command("server", command), capture_output=True, text=True)
        assert asked.stdout.strip() == "404"


@pytest.mark.parametrize(
    "path", ["/docs", "/openapi.json", "/", "/v1/fleet/../control/start-run", "//v1/control/start-run"]
)
def test_nothing_else_is_found(stage: Stage, path: str) -> None:
    assert status(stage, "mallory", "GET", path) in ("404", "405")


def test_a_giant_request_is_refused_before_it_is_read(stage: Stage) -> None:
    assert status(stage, "mallory", "POST", "/v1/fleet/push-object", size=2**40) == "413"
    assert status(stage, "mallory", "POST", "/fedmetric/enrol", size=2**20) == "413"


def test_a_client_without_tls_gets_no_answer(stage: Stage) -> None:
    found = status(stage, "mallory", "GET", "/fedmetric/hello", authority="plain")
    assert found in ("RemoteDisconnected", "ConnectionResetError", "BadStatusLine")


def test_a_fleet_request_without_a_known_key_is_refused(stage: Stage) -> None:
    assert status(stage, "mallory", "POST", "/v1/fleet/pull-messages") in ("400", "401", "415", "422")


def test_a_server_of_another_authority_is_not_trusted(stage: Stage, tmp_path: Path, sites: dict[str, Path]) -> None:
    other = tmp_path / "other"
    address = stage.hosts.address("server")
    stage.call("deploy", "init", "--host", address, "--port", str(stage.port), "-d", str(other), "north")
    said = join(
        stage, str(other / "invites" / "north.invite"), "--data", str(sites["north"]), "--home", str(tmp_path / "h")
    )
    assert "is not the server that this site trusts" in said


def test_an_invite_is_good_once(stage: Stage, tmp_path: Path, sites: dict[str, Path]) -> None:
    """Somebody who finds the invite after it was used has another key, and is refused."""
    found = invite(stage, "once")
    stage.start("once", "mallory", "join", str(found), "--data", str(sites["north"]), "--home", str(tmp_path / "first"))
    stage.wait(lambda: "enrolled" in stage.log("once"), "the first one enrols", seconds=90)
    said = join(stage, str(found), "--data", str(sites["north"]), "--home", str(tmp_path / "second"))
    assert "this invite was used already, with another key" in said
    stage.call("deploy", "revoke", "once", "-d", str(stage.deployment))
    ends(stage, "once")


def test_a_revoked_site_is_thrown_out_and_its_key_is_worth_nothing(
    stage: Stage, tmp_path: Path, sites: dict[str, Path]
) -> None:
    found, home = invite(stage, "former"), tmp_path / "former"
    stage.start("former", "mallory", "join", str(found), "--data", str(sites["north"]), "--home", str(home))
    stage.wait(lambda: "SuperNode ID" in stage.log("former"), "it is let in", seconds=90)
    stage.call("deploy", "revoke", "former", "-d", str(stage.deployment))
    ends(stage, "former")
    assert "this site is not enrolled here" in join(stage, "--home", str(home))
    refused_by_flower(stage, "former", home, sites["north"])
    stage.call("join", str(found), "--data", str(sites["north"]), "--home", str(tmp_path / "x"), code=1, host="mallory")


def test_a_key_that_was_never_enrolled_is_not_let_in(stage: Stage, tmp_path: Path, sites: dict[str, Path]) -> None:
    found, home = invite(stage, "stranger"), tmp_path / "stranger"
    request = tmp_path / "request.json"
    join(stage, str(found), "--data", str(sites["north"]), "--home", str(home), "--offline", str(request), code=0)
    assert "this site is not enrolled here" in join(stage, "--home", str(home))
    refused_by_flower(stage, "stranger", home, sites["north"])
    stage.call("deploy", "revoke", "stranger", "-d", str(stage.deployment))


def test_an_offline_request_signed_by_another_key_is_refused(
    stage: Stage, tmp_path: Path, sites: dict[str, Path]
) -> None:
    found, home, request = invite(stage, "swapped"), tmp_path / "swapped", tmp_path / "request.json"
    join(stage, str(found), "--data", str(sites["north"]), "--home", str(home), "--offline", str(request), code=0)
    asked = json.loads(request.read_text())
    other = tmp_path / "other.key"
    write_private(other, new_node_key())
    asked["public_key"] = public_key_of(other.read_bytes()).decode()
    request.write_text(json.dumps(asked))
    said = stage.call("deploy", "enrol", "swapped", str(request), "-d", str(stage.deployment), code=1)
    assert "was not signed with it" in said
    stage.call("deploy", "revoke", "swapped", "-d", str(stage.deployment))


def test_after_all_of_this_the_run_is_as_if_nobody_else_had_been_there(
    stage: Stage, tmp_path: Path, sites: dict[str, Path]
) -> None:
    stage.join("north")
    stage.join("south")
    remote = stage.finish()
    both = tmp_path / "all"
    for name, path in sites.items():
        shutil.copytree(path, both / name)
    place = tmp_path / "local.toml"
    place.write_text(EXPERIMENT.format(path=both, layout="client-class"))
    local = start_run(load_experiment(str(place)), tmp_path / "local", lambda event: None)
    assert remote == local["weights_sha256"]
