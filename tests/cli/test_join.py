"""`fedmetric join` and `leave`, up to where Flower's SuperNode begins: what a site is told, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from command import Answer, Command
from fedmetric.cli import join
from fedmetric.clients import enrol as client
from fedmetric.clients.enrol import NotReachedError, NotTrustedError
from fedmetric.deployment.home import Home, open_home
from fedmetric.deployment.invite import Invite
from fedmetric.deployment.office import Office, found_office
from fedmetric.errors import FedmetricError

HOME = "state/fedmetric/clinics/north"


@pytest.fixture(autouse=True)
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "images").mkdir()
    return found_office(tmp_path / "deployment", "clinics", ["127.0.0.1"], 9000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for the server and for Flower's SuperNode, and keep what was asked of them in order."""
    asked: list[str] = []

    def enrol(home: Home, invite: Invite) -> None:
        asked.append(f"enrol {home.site}")
        home.mark_enrolled(invite.token)

    monkeypatch.setattr(client, "enrol", enrol)
    monkeypatch.setattr(client, "hello", lambda home: asked.append("hello"))
    monkeypatch.setattr(client, "wait_alone", lambda home, tell: asked.append("known"))
    monkeypatch.setattr(client, "leave", lambda home: asked.append(f"leave {home.site}"))
    monkeypatch.setattr(join, "run_node", lambda home: asked.append(f"run {home.folder.name}"))
    return asked


def refused(answer: Answer, message: str, code: int = 2) -> None:
    assert answer.code == code
    assert re.search(message, answer.err), answer.err
    assert answer.err.startswith("fedmetric: ")
    assert answer.err.count("\n") == 1


def test_a_site_joins_and_goes_on_without_enrolling_again(
    command: Command, office: Office, server: list[str], tmp_path: Path
) -> None:
    invite = office.invite("north")
    answer = command("join", invite.to_text(), "--data", "images")
    assert answer.code == 0, answer.err
    assert f"site 'north' of 'clinics', server 127.0.0.1:9000, home {tmp_path / HOME}" in answer.out
    assert f"trusts the authority with the fingerprint {invite.fingerprint}" in answer.out
    assert "enrolled: the server knows this site's key" in answer.out
    assert invite.token not in answer.out + answer.err
    assert server == ["enrol north", "hello", "known", "run north"]
    assert open_home(Path(HOME)).data == tmp_path / "images"
    for words in ([invite.to_text(), "--data", "images"], ["--home", HOME]):
        server.clear()
        assert command("join", *words).code == 0
        assert server == ["hello", "known", "run north"]


def test_a_site_that_was_revoked_joins_again_with_a_new_invite_and_another_key(
    command: Command, office: Office, server: list[str]
) -> None:
    command("join", office.invite("north").to_text(), "--data", "images")
    key = open_home(Path(HOME)).public_key()
    server.clear()
    office.roster.revoke("north")
    assert command("join", office.invite("north").to_text(), "--data", "images").code == 0
    assert server == ["enrol north", "hello", "known", "run north"]
    assert open_home(Path(HOME)).public_key() != key


def test_without_an_invite_a_home_is_needed_that_is_a_site(command: Command, server: list[str]) -> None:
    refused(command("join"), "give an invite, or --home with the folder of a site that has joined before")
    refused(command("join", "--home", "nowhere"), "nowhere is no site; join a federation with 'fedmetric join INVITE")
    assert server == []


@pytest.mark.parametrize("data", ["nowhere", "deployment/deployment.toml", None])
def test_the_folder_of_images_must_be_there(
    data: str | None, command: Command, office: Office, server: list[str]
) -> None:
    words = ["--data", data] if data else []
    answer = command("join", office.invite("north").to_text(), *words)
    refused(answer, f"--data {data} is no folder; name the folder of this site's images")
    assert server == []
    assert not Path(HOME).exists()


def test_an_invite_that_is_none_is_refused_without_repeating_it(
    command: Command, office: Office, server: list[str]
) -> None:
    text = office.invite("north").to_text()
    for wrong, message in {
        text[:-40]: "the invite is damaged; ask for it again",
        text[1:]: "this is neither an invite .* nor a file that holds one",
        "north.invite": "this is neither an invite .* nor a file that holds one",
    }.items():
        answer = command("join", wrong, "--data", "images")
        refused(answer, message)
        assert text[100:140] not in answer.err
    assert server == []


def test_the_home_of_another_site_or_server_is_refused(
    command: Command, office: Office, server: list[str], tmp_path: Path
) -> None:
    command("join", office.invite("north").to_text(), "--data", "images")
    server.clear()
    other = found_office(tmp_path / "other", "clinics", ["127.0.0.1"])
    words = ["--data", "images", "--home", HOME]
    refused(command("join", office.invite("south").to_text(), *words), "is site 'north' of 'clinics'; choose another")
    refused(command("join", other.invite("north").to_text(), *words), "trusts another authority than this invite names")
    assert server == []


def test_limits_that_cannot_be_read_stop_a_site_before_it_is_connected(
    command: Command, office: Office, server: list[str]
) -> None:
    command("join", office.invite("north").to_text(), "--data", "images")
    server.clear()
    settings = Path(HOME, "site.toml")
    settings.write_text(settings.read_text() + "epoch = 3\n")
    refused(command("join", "--home", HOME), r"limits\.epoch is unknown; did you mean 'epochs'")
    assert server == []


@pytest.mark.parametrize(
    "error", [NotTrustedError("127.0.0.1:9000 is not the server"), FedmetricError("the server refused: this invite")]
)
def test_a_server_that_refuses_or_is_not_trusted_ends_it(
    error: FedmetricError, command: Command, office: Office, server: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def enrol(home: Home, invite: Invite) -> None:
        raise error

    monkeypatch.setattr(client, "enrol", enrol)
    refused(command("join", office.invite("north").to_text(), "--data", "images"), str(error), code=1)
    assert server == []


def test_a_site_leaves_and_its_folder_is_gone_but_no_image(
    command: Command, office: Office, server: list[str], tmp_path: Path
) -> None:
    (tmp_path / "images" / "a.png").touch()
    command("join", office.invite("north").to_text(), "--data", "images")
    answer = command("leave", HOME)
    assert answer.out == f"site 'north' has left 'clinics'; {tmp_path / HOME} is removed\n"
    assert server[-1] == "leave north"
    assert not Path(HOME).exists()
    assert (tmp_path / "images" / "a.png").exists()
    refused(command("leave", HOME), "is no site")


def test_a_site_that_cannot_tell_the_server_leaves_only_by_force(
    command: Command, office: Office, server: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command("join", office.invite("north").to_text(), "--data", "images")

    def leave(home: Home) -> None:
        raise NotReachedError("127.0.0.1:9000 does not answer: refused")

    monkeypatch.setattr(client, "leave", leave)
    refused(command("leave", HOME), "127.0.0.1:9000 does not answer: refused; --force removes the folder all the same")
    assert Path(HOME).exists()
    assert command("leave", HOME, "--force").code == 0
    assert not Path(HOME).exists()
