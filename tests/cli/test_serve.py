"""`fedmetric serve`: what is refused before a server is started."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from command import Answer, Command
from fedmetric.deployment.office import Office, found_office
from fedmetric.errors import FedmetricError
from fedmetric.runs import RunFolder
from fedmetric.server import hosting
from fedmetric.server.deployed import Terms, read_terms
from tiny import TINY, tiny


@pytest.fixture(autouse=True)
def hosted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stand in for Flower's server, and keep how it would have been started."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY)
    asked: list[dict[str, Any]] = []

    def host_run(office: Office, folder: RunFolder, listen: Any, bind: str, port: int) -> dict[str, Any]:
        asked.append({"folder": folder.path, "bind": bind, "port": port, "terms": read_terms(folder.path)})
        raise FedmetricError("this is far enough")

    monkeypatch.setattr(hosting, "host_run", host_run)
    return asked


@pytest.fixture
def office(tmp_path: Path) -> Office:
    office = found_office(tmp_path / "deployment", "clinics", ["server.example"], 9000)
    for site in ("north", "east", "south"):
        office.invite(site)
    return office


def refused(answer: Answer, message: str, code: int = 2) -> None:
    assert answer.code == code
    assert re.search(message, answer.err), answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize("words", [[], ["tiny.toml", "--resume", "runs/tiny"]])
def test_either_an_experiment_or_a_run_is_needed(words: list[str], command: Command, office: Office) -> None:
    refused(command("serve", *words), "give an experiment to begin, or --resume RUN to go on; one of the two")


@pytest.mark.parametrize("words", [["tiny.toml"], ["--resume", "runs/tiny"]])
def test_a_deployment_is_needed(words: list[str], command: Command) -> None:
    refused(command("serve", *words), "deployment is no deployment; make one with 'fedmetric deploy init'")


def test_a_wrong_experiment_is_refused(command: Command, office: Office) -> None:
    refused(command("serve", "tinny"), "no file and no preset 'tinny'", code=4)
    refused(
        command("serve", "tiny.toml", "--set", "local.epoch=3"), "local.epoch: unknown key; did you mean 'epochs'", 4
    )
    assert not Path("runs").exists()


def test_sites_are_needed_that_are_not_revoked(command: Command, tmp_path: Path) -> None:
    office = found_office(tmp_path / "deployment", "clinics", ["server.example"])
    message = "deployment has no sites; invite some with 'fedmetric deploy invite'"
    refused(command("serve", "tiny.toml"), message)
    office.invite("north")
    office.roster.revoke("north")
    refused(command("serve", "tiny.toml"), message)
    assert not Path("runs").exists()


def test_a_quorum_of_more_sites_than_there_are_is_refused_by_name(command: Command, office: Office) -> None:
    office.roster.revoke("east")
    refused(command("serve", "tiny.toml", "--quorum", "3"), "--quorum 3, but there are 2 sites: north, south")
    assert not Path("runs").exists()


@pytest.mark.parametrize("words", [["--quorum", "0"], ["--round-timeout", "0"], ["--wait", "-1"], ["--quorum", "all"]])
def test_numbers_below_1_are_wrong_usage(words: list[str], command: Command, office: Office) -> None:
    answer = command("serve", "tiny.toml", *words)
    assert answer.code == 2
    assert words[0] in answer.err


def test_a_run_has_the_terms_that_were_asked_for(
    command: Command, office: Office, hosted: list[dict[str, Any]]
) -> None:
    office.roster.revoke("east")
    answer = command("serve", "tiny.toml", "--out", "run", "--quorum", "1", "--round-timeout", "60", "--wait", "30")
    refused(answer, "this is far enough", code=1)
    (asked,) = hosted
    assert asked["terms"] == Terms(("north", "south"), 1, 60.0, 30.0)
    assert (asked["folder"], asked["bind"], asked["port"]) == (Path("run"), "0.0.0.0", 9000)


def test_every_site_is_needed_unless_fewer_are_said_to_be_enough(
    command: Command, office: Office, hosted: list[dict[str, Any]]
) -> None:
    command("serve", "tiny.toml", "--bind", "192.0.2.7")
    assert hosted[0]["terms"] == Terms(("north", "east", "south"), 3, 3600.0, 3600.0)
    assert hosted[0]["bind"] == "192.0.2.7"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_server_for_its_own_machine_listens_nowhere_else(
    host: str, command: Command, tmp_path: Path, hosted: list[dict[str, Any]]
) -> None:
    found_office(tmp_path / "deployment", "clinics", [host]).invite("north")
    command("serve", "tiny.toml")
    assert hosted[0]["bind"] == "127.0.0.1"


def test_what_was_not_begun_by_serve_is_not_resumed(command: Command, office: Office, tmp_path: Path) -> None:
    refused(command("serve", "--resume", str(tmp_path)), "is not the folder of a run")
    folder = RunFolder.create(tmp_path / "run", tiny())
    refused(command("serve", "--resume", "run"), "run was not begun by 'fedmetric serve'")
    (folder.path / "deployment.json").write_text("{")
    refused(command("serve", "--resume", "run"), "run was not begun by 'fedmetric serve'")


def test_a_run_that_is_done_is_not_resumed_and_a_failed_one_is(
    command: Command, office: Office, tmp_path: Path, hosted: list[dict[str, Any]]
) -> None:
    folder = RunFolder.create(tmp_path / "run", tiny())
    Terms(("north",), 1).write(folder.path)
    summary = {"status": "done", "rounds": 2, "exit_code": 0, "weights_sha256": "ab" * 32}
    (folder.path / "summary.json").write_text(json.dumps(summary))
    refused(command("serve", "--resume", "run"), "run is done: 2 rounds, sha256 abababababab; nothing to resume")
    (folder.path / "summary.json").write_text(json.dumps({**summary, "status": "failed", "exit_code": 5}))
    command("serve", "--resume", "run")
    assert hosted[0]["terms"] == Terms(("north",), 1)
    assert folder.summary() is None
