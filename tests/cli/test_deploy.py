"""`fedmetric deploy`: what the operator of a server is told, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from command import Answer, Command
from fedmetric.deployment.certificates import fingerprint, new_node_key, public_key_of, sign
from fedmetric.deployment.home import open_home
from fedmetric.deployment.invite import read_invite
from fedmetric.deployment.office import Office, open_office
from fedmetric.deployment.private_files import is_private
from fedmetric.deployment.roster import claim_of


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own, with a state folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def office(command: Command) -> Office:
    assert command("deploy", "init", "--host", "server.example", "--name", "clinics", "north", "south").code == 0
    return open_office(Path("deployment"))


def statuses(office: Office) -> dict[str, str]:
    return {member.site: member.status for member in office.roster.members()}


def enrol(office: Office, site: str) -> None:
    token, key = read_invite(f"deployment/invites/{site}.invite").token, new_node_key()
    office.roster.enrol(site, token, public_key_of(key).decode(), sign(key, claim_of(site, token)))


def refused(answer: Answer, message: str, code: int = 2) -> None:
    assert answer.code == code
    assert re.search(message, answer.err), answer.err
    assert answer.err.startswith("fedmetric: ")
    assert "Traceback" not in answer.err
    assert answer.err.count("\n") == 1


def test_a_deployment_is_made_with_invites_and_says_what_to_do(command: Command) -> None:
    answer = command(
        "deploy", "init", "--host", "server.example", "--host", "192.0.2.7", "--port", "9000", "--name", "clinics",
        "north", "south",
    )  # fmt: skip
    office = open_office(Path("deployment"))
    assert answer.code == 0
    assert "server server.example port 9000, certificate for server.example, 192.0.2.7" in answer.out
    assert f"authority fingerprint (SHA-256) {fingerprint(office.authority.read_bytes())}" in answer.out
    assert f"keep {office.authority_key} somewhere else" in answer.out
    for site in ("north", "south"):
        place = office.folder / "invites" / f"{site}.invite"
        assert f"{place}: good once, for 14 days; send it over a channel that you trust" in answer.out
        invite = read_invite(str(place))
        assert (invite.federation, invite.site, invite.address) == ("clinics", site, "server.example:9000")
        assert invite.token not in answer.out + answer.err
        assert is_private(place)
    assert is_private(office.folder / "invites")
    assert statuses(office) == {"north": "invited", "south": "invited"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--host", "server.example:9443"],
            "'server.example:9443' is neither a host name nor an IP address",
        ),
        (["--host", "server.example", "--port", "0"], "port 0 is not between 1 and 65535"),
        (["--host", "server.example", "--name", "a/b"], "'a/b' cannot be a name; use letters, digits"),
        (["--host", "server.example", "north", "../up"], r"'\.\./up' cannot be a name; use letters, digits"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_made(words: list[str], message: str, command: Command) -> None:
    refused(command("deploy", "init", *words), message)
    assert list(Path.cwd().iterdir()) == []


def test_a_deployment_without_a_host_is_wrong_usage(command: Command) -> None:
    answer = command("deploy", "init", "north")
    assert answer.code == 2
    assert "--host" in answer.err


def test_a_deployment_is_not_made_twice(office: Office, command: Command) -> None:
    before = office.authority.read_bytes()
    refused(command("deploy", "init", "--host", "server.example"), "is a deployment already; 'fedmetric deploy invite'")
    assert office.authority.read_bytes() == before


@pytest.mark.parametrize("words", [["invite", "north"], ["revoke", "north"], ["renew"], ["sites"], ["sites", "--json"]])
def test_a_folder_that_is_no_deployment_is_refused(words: list[str], command: Command) -> None:
    message = "nowhere is no deployment; make one with 'fedmetric deploy init'"
    refused(command("deploy", *words, "--deployment", "nowhere"), message)


def test_inviting_again_replaces_the_token_until_the_site_has_joined(office: Office, command: Command) -> None:
    first = read_invite("deployment/invites/north.invite").token
    assert command("deploy", "invite", "north", "east", "--invites", "elsewhere").code == 0
    assert read_invite("elsewhere/north.invite").token != first
    assert list(statuses(office)) == ["north", "south", "east"]
    enrol(office, "south")
    refused(command("deploy", "invite", "south"), "site 'south' has joined already; revoke it first")


def test_revoked_sites_are_named_and_unknown_ones_refused(office: Office, command: Command) -> None:
    assert command("deploy", "revoke", "north").out == "north: revoked\n"
    assert statuses(office) == {"north": "revoked", "south": "invited"}
    refused(command("deploy", "revoke", "nord"), "no site 'nord'; known: north, south")


def test_the_sites_are_listed_with_how_far_they_are(office: Office, command: Command) -> None:
    enrol(office, "south")
    command("deploy", "revoke", "north")
    assert [line.split() for line in command("deploy", "sites").out.splitlines()] == [
        ["north", "revoked"], ["south", "enrolled"]
    ]  # fmt: skip
    assert json.loads(command("deploy", "sites", "--json").out) == [
        {"site": "north", "status": "revoked"}, {"site": "south", "status": "enrolled"}
    ]  # fmt: skip


def test_a_renewed_certificate_says_how_long_it_is_valid(office: Office, command: Command) -> None:
    before = office.certificate.read_bytes()
    assert re.search(r"server\.pem: valid until \d{4}-\d\d-\d\d$", command("deploy", "renew").out.strip())
    assert office.certificate.read_bytes() != before
    office.authority_key.unlink()
    refused(command("deploy", "renew"), "authority.key is not here; bring it back to renew the certificate")


@pytest.fixture
def request_file(office: Office, command: Command) -> Path:
    """Let the site north write what it would have sent, had it reached the server."""
    Path("images").mkdir()
    words = ["join", "deployment/invites/north.invite", "--data", "images", "--offline", "north.request"]
    answer = command(*words)
    assert answer.code == 0, answer.err
    assert "north.request: holds the invite's token; at the server: 'fedmetric deploy enrol north FILE'" in answer.out
    assert read_invite("deployment/invites/north.invite").token not in answer.out
    return Path("north.request")


def test_a_site_that_cannot_reach_the_server_is_enrolled_from_its_file(
    request_file: Path, office: Office, command: Command
) -> None:
    assert is_private(request_file)
    for _ in range(2):
        assert command("deploy", "enrol", "north", str(request_file)).out == "north: enrolled\n"
    home = open_home(Path("state/fedmetric/clinics/north"))
    assert office.roster.members()[0].public_key == home.public_key()
    assert home.enrolled


def test_a_file_for_another_site_is_refused(request_file: Path, office: Office, command: Command) -> None:
    answer = command("deploy", "enrol", "south", str(request_file))
    refused(answer, "the request was not signed with it", code=1)
    assert statuses(office) == {"north": "invited", "south": "invited"}


def test_a_file_of_a_revoked_site_is_refused(request_file: Path, command: Command) -> None:
    command("deploy", "revoke", "north")
    refused(command("deploy", "enrol", "north", str(request_file)), "is not known, or was revoked; ask for a new", 1)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"3", b'"text"', b"null", b"\xff", b"{}", b'{"token": "x", "public_key": "y"}']
)
def test_a_file_that_holds_something_else_is_refused(content: bytes, office: Office, command: Command) -> None:
    Path("other").write_bytes(content)
    refused(command("deploy", "enrol", "north", "other"), "other is not what 'fedmetric join --offline' writes: ")
    refused(command("deploy", "enrol", "north", "missing"), "missing is not what 'fedmetric join --offline' writes: ")


def test_a_file_whose_signature_was_damaged_is_refused(request_file: Path, office: Office, command: Command) -> None:
    whole = json.loads(request_file.read_text())
    request_file.write_text(json.dumps(whole | {"signature": "A"}))
    answer = command("deploy", "enrol", "north", str(request_file))
    refused(answer, "north.request is not what 'fedmetric join --offline' writes: ")
    assert whole["token"] not in answer.err
