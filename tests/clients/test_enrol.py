"""What a site tells its server, over real TLS on this machine, and how long it tries."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from https_server import Server, running

from fedmetric.clients.enrol import (
    AGAIN_SECONDS,
    NotReachedError,
    NotTrustedError,
    enrol,
    enrolment,
    hello,
    leave,
    patiently,
    wait_alone,
)
from fedmetric.deployment.certificates import Pair, is_signed
from fedmetric.deployment.home import Home, settle
from fedmetric.deployment.invite import Invite
from fedmetric.deployment.office import Office, found_office
from fedmetric.deployment.roster import claim_of
from fedmetric.errors import FedmetricError
from fedmetric.wire import PROTOCOL


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return found_office(tmp_path / "deployment", "clinics", ["127.0.0.1"])


@pytest.fixture
def server(office: Office, tmp_path: Path) -> Iterator[Server]:
    with running(Pair(office.certificate.read_bytes(), office.key.read_bytes()), tmp_path) as server:
        yield server


@pytest.fixture
def invite(office: Office, server: Server) -> Invite:
    return replace(office.invite("north"), port=server.server_address[1])


@pytest.fixture
def home(tmp_path: Path, invite: Invite) -> Home:
    return settle(tmp_path / "north", invite, tmp_path / "images")


def test_a_site_enrols_with_its_key_and_a_signature_for_its_token(home: Home, invite: Invite, server: Server) -> None:
    enrol(home, invite)
    ((method, path, body),) = server.asked
    assert (method, path) == ("POST", "/fedmetric/enrol")
    assert (body["site"], body["token"], body["public_key"]) == ("north", invite.token, home.public_key())
    signature = base64.b64decode(body["signature"])
    assert is_signed(body["public_key"].encode(), claim_of("north", invite.token), signature)
    assert home.enrolled
    assert home.key.read_bytes() not in json.dumps(body).encode()


def test_a_refusal_gives_the_servers_reason_and_leaves_the_site_not_enrolled(
    home: Home, invite: Invite, server: Server
) -> None:
    server.status, server.answer = 403, b'{"error": "this invite has expired; ask for a new one"}'
    with pytest.raises(FedmetricError, match="^the server refused: this invite has expired; ask for a new one$"):
        enrol(home, invite)
    assert not home.enrolled


def test_what_is_written_for_the_server_is_what_would_have_been_sent(
    home: Home, invite: Invite, server: Server
) -> None:
    written = enrolment(home, invite)
    enrol(home, invite)
    sent = server.asked[0][2]
    assert {**written, "signature": ""} == {**sent, "signature": ""}
    assert set(written) == {"site", "token", "public_key", "signature"}


def test_a_site_signs_that_it_leaves(home: Home, server: Server) -> None:
    leave(home)
    ((_, path, body),) = server.asked
    assert (path, body["site"]) == ("/fedmetric/leave", "north")
    assert is_signed(home.public_key().encode(), claim_of("north", "leave"), base64.b64decode(body["signature"]))


def test_hello_is_answered_by_a_server_of_the_same_protocol(home: Home, server: Server) -> None:
    server.answer = json.dumps({"federation": "clinics", "version": "1", "protocol": PROTOCOL}).encode()
    assert hello(home)["federation"] == "clinics"
    assert server.asked == [("GET", "/fedmetric/hello", None)]


@pytest.mark.parametrize("answer", [{"version": "9.9", "protocol": 99}, {}])
def test_a_server_of_another_protocol_is_refused_with_both_versions(
    answer: dict[str, Any], home: Home, server: Server
) -> None:
    server.answer = json.dumps(answer).encode()
    message = (
        rf"the server speaks protocol {answer.get('protocol')} .*, this site {PROTOCOL} .*; install the same version"
    )
    with pytest.raises(FedmetricError, match=message):
        hello(home)


def test_a_site_tries_again_patiently_and_says_so_once() -> None:
    answers: list[Any] = [NotReachedError("no answer"), NotReachedError("no answer"), "welcome"]
    told: list[str] = []
    waited: list[float] = []

    def step() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert patiently(step, told.append, waited.append) == "welcome"
    assert told == ["no answer; trying again every 5 s"]
    assert waited == [AGAIN_SECONDS] * 2


def answers_known(server: Server, connected: bool) -> None:
    server.answer = json.dumps({"connected": connected}).encode()


def test_a_site_that_was_restarted_waits_until_its_earlier_process_is_forgotten(home: Home, server: Server) -> None:
    told: list[str] = []
    answers_known(server, True)
    wait_alone(home, told.append, lambda seconds: answers_known(server, len(server.asked) < 3))
    assert len(server.asked) == 4
    assert told == ["the server still counts an earlier process of this site as connected; waiting up to a minute"]


def test_a_site_that_nobody_counts_as_connected_starts_at_once(home: Home, server: Server) -> None:
    answers_known(server, False)
    wait_alone(home, lambda text: pytest.fail(text), lambda seconds: pytest.fail("waited"))


def test_a_second_process_of_a_site_gives_up_in_the_end(home: Home, server: Server) -> None:
    answers_known(server, True)
    waited: list[float] = []
    with pytest.raises(FedmetricError, match="another process of site 'north' is connected to the server; stop that"):
        wait_alone(home, lambda text: None, waited.append)
    assert 60 < sum(waited) < 100  # Flower counts a node as connected for 60 s after its last heartbeat


@pytest.mark.parametrize("error", [NotTrustedError("an impostor"), FedmetricError("refused")])
def test_a_site_does_not_try_again_where_that_cannot_help(error: FedmetricError) -> None:
    def step() -> None:
        raise error

    with pytest.raises(FedmetricError, match=str(error)):
        patiently(step, lambda text: None, lambda seconds: pytest.fail("waited"))
