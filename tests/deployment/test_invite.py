"""An invite is read whole or not at all, and what is wrong with it is said without repeating it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from fedmetric.deployment.certificates import fingerprint, new_authority
from fedmetric.deployment.invite import MAX_TEXT, PREFIX, Invite, address_of, check_name, read_invite
from fedmetric.errors import UsageError

TOKEN = "a-token-that-must-not-be-shown"
Refused = Callable[[str], str]


@pytest.fixture(scope="module")
def invite() -> Invite:
    authority = new_authority("clinics").certificate.decode()
    return Invite("clinics", "north.1", "server.example", 9443, authority, TOKEN)


def written(fields: object) -> str:
    return PREFIX + base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return a function that reads an invite which must be refused, and gives the message, without the secret in it."""

    def read(text: str) -> str:
        with pytest.raises(UsageError) as caught:
            read_invite(text)
        secrets = (TOKEN, text.strip()[len(PREFIX) : len(PREFIX) + 40] or TOKEN)
        assert not any(secret in str(caught.value) for secret in secrets)
        return str(caught.value)

    return read


def test_an_invite_survives_the_way(invite: Invite) -> None:
    text = invite.to_text()
    assert not set(text) & set(" \n='\"")
    assert read_invite(text) == invite
    assert read_invite(f"\n  {text}\n") == invite


def test_an_invite_is_read_from_a_file(invite: Invite, tmp_path: Path) -> None:
    (tmp_path / "north.invite").write_text(invite.to_text() + "\n")
    assert read_invite(str(tmp_path / "north.invite")) == invite


def test_an_invite_names_the_address_and_the_fingerprint_to_compare(invite: Invite) -> None:
    assert invite.address == "server.example:9443"
    assert invite.fingerprint == fingerprint(invite.authority.encode())
    assert address_of("2001:db8::1", 9443) == "[2001:db8::1]:9443"


@pytest.mark.parametrize("text", ["", "nonsense", "fedmetric-invite-2.AAAA", "/no/such/file", "nul\0byte"])
def test_what_is_neither_invite_nor_file_is_refused(text: str, refused: Refused) -> None:
    assert "neither an invite (fedmetric-invite-1....) nor a file that holds one" in refused(text)


def test_an_invite_that_lost_its_beginning_is_not_shown_as_the_name_of_a_file(invite: Invite, refused: Refused) -> None:
    assert "neither an invite" in refused(invite.to_text()[1:])
    assert "neither an invite" in refused(" ".join([invite.to_text()[3:]] * 5))


def test_a_file_that_holds_something_else_is_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\xff\xfe nothing")
    assert f"the file holds no invite of this version ({PREFIX}...)" in refused(str(tmp_path / "file"))


def test_an_invite_that_is_much_too_long_is_refused(refused: Refused) -> None:
    assert "holds no invite" in refused(PREFIX + "A" * MAX_TEXT)


def test_an_invite_that_was_cut_off_anywhere_is_refused(invite: Invite, refused: Refused) -> None:
    text = invite.to_text()
    for length in range(len(PREFIX), len(text) - 1, 7):
        assert "the invite is damaged; ask for it again" in refused(text[:length])


@pytest.mark.parametrize("name", ["federation", "site", "host", "port", "authority", "token"])
def test_an_invite_that_lacks_a_part_is_refused(name: str, invite: Invite, refused: Refused) -> None:
    fields = {key: value for key, value in asdict(invite).items() if key != name}
    assert "the invite is damaged" in refused(written(fields))


@pytest.mark.parametrize("fields", [[], "text", 3, None, [TOKEN]])
def test_an_invite_that_is_no_table_is_refused(fields: object, refused: Refused) -> None:
    assert "the invite is damaged" in refused(written(fields))


@pytest.mark.parametrize("port", ["many", None, [], {}, float("inf"), float("nan"), 0, -1, 65536])
def test_an_invite_with_a_port_that_is_none_is_refused(port: Any, invite: Invite, refused: Refused) -> None:
    assert "the invite is damaged" in refused(written(asdict(invite) | {"port": port}))


@pytest.mark.parametrize("authority", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAA", "\ud800"])
def test_an_invite_without_a_real_authority_is_refused(authority: str, invite: Invite, refused: Refused) -> None:
    told = refused(written(asdict(invite) | {"authority": authority}))
    assert "this is no PEM certificate" in told or "the invite is damaged" in told


@pytest.mark.parametrize("key", ["federation", "site"])
@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", "a\\b", ".hidden", "-flag", "a b", "ä", "a" * 64, "a\n"])
def test_names_that_could_not_be_part_of_a_path_are_refused(
    key: str, name: str, invite: Invite, refused: Refused
) -> None:
    assert "cannot be a name; use letters, digits" in refused(written(asdict(invite) | {key: name}))


@pytest.mark.parametrize("name", ["a", "North-1", "clinic.of_7", "a" * 63])
def test_plain_names_are_taken(name: str) -> None:
    assert check_name(name) == name


def test_what_else_an_invite_holds_is_ignored(invite: Invite) -> None:
    assert read_invite(written(asdict(invite) | {"newer": "field"})) == invite
