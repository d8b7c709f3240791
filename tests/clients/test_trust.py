"""Whom a site believes: the one authority of its invite, over real TLS on this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from https_server import Page, Server, running

from fedmetric.clients import enrol as module
from fedmetric.clients.enrol import NotReachedError, NotTrustedError, ask, enrol, hello
from fedmetric.deployment.certificates import Pair, new_server
from fedmetric.deployment.home import Home, settle
from fedmetric.deployment.invite import Invite
from fedmetric.deployment.office import Office, found_office
from fedmetric.errors import FedmetricError


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


def test_a_server_of_another_authority_is_not_told_the_token(home: Home, invite: Invite, tmp_path: Path) -> None:
    other = found_office(tmp_path / "other", "clinics", ["127.0.0.1"])
    with running(Pair(other.certificate.read_bytes(), other.key.read_bytes()), tmp_path) as impostor:
        moved = replace(home, port=impostor.server_address[1])
        with pytest.raises(NotTrustedError, match="is not the server that this site trusts, or its certificate is not"):
            enrol(moved, invite)
        assert impostor.asked == []
    assert not home.enrolled


def test_an_expired_certificate_is_not_trusted(home: Home, office: Office, tmp_path: Path) -> None:
    authority = Pair(office.authority.read_bytes(), office.authority_key.read_bytes())
    expired = new_server(authority, ["127.0.0.1"], days=-0.04)  # type: ignore[arg-type]
    with running(expired, tmp_path) as late, pytest.raises(NotTrustedError, match="certificate has expired"):
        hello(replace(home, port=late.server_address[1]))


def test_a_certificate_for_another_host_is_not_trusted(home: Home, server: Server, monkeypatch: Any) -> None:
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **named: look_up("127.0.0.1", *rest, **named))
    with pytest.raises(NotTrustedError, match=r"other.example:\d+ is not the server .* Hostname mismatch"):
        hello(replace(home, host="other.example"))


def test_a_server_that_speaks_no_tls_is_not_trusted(home: Home) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as plain:
        thread = threading.Thread(target=plain.handle_request, daemon=True)
        thread.start()
        with pytest.raises(NotTrustedError, match="is not the server that this site trusts"):
            hello(replace(home, port=plain.server_address[1]))
        thread.join()


@pytest.mark.parametrize("status", [200, 403, 500])
@pytest.mark.parametrize("answer", [b"", b"<html>", b"\xff", b"[]", b"3", b'"text"', b"null", b"[1]"])
def test_an_answer_that_is_no_table_is_not_a_fedmetric_servers(
    answer: bytes, status: int, home: Home, server: Server
) -> None:
    server.status, server.answer = status, answer
    with pytest.raises(NotTrustedError, match="answers, but not as a fedmetric server does"):
        ask(home, "hello")


def test_a_refusal_without_a_reason_gives_the_number(home: Home, server: Server) -> None:
    server.status = 404
    with pytest.raises(FedmetricError, match="^the server refused: 404$"):
        ask(home, "hello")


def test_a_server_that_is_not_there_is_not_reached(home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        with pytest.raises(NotReachedError, match=r"127\.0\.0\.1:\d+ does not answer"):
            hello(replace(home, port=taken.getsockname()[1]))


@pytest.mark.parametrize("farewell", [b"", b"\x15\x03"])
def test_a_server_that_hangs_up_while_it_is_started_is_not_reached(farewell: bytes, home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            link, _ = listener.accept()
            link.recv(4096)
            link.sendall(farewell)
            link.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        with pytest.raises(NotReachedError, match="does not answer"):
            hello(replace(home, port=listener.getsockname()[1]))
        thread.join()


def test_a_server_that_never_answers_is_not_reached(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.1)
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(NotReachedError, match="does not answer: .*timed out"),
    ):
        hello(replace(home, port=listener.getsockname()[1]))
