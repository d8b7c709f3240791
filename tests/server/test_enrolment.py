"""Pages that strangers may call: whatever they send, they get a reason or nothing, never an error of the server's."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from fastapi import FastAPI
from flower_nodes import Nodes, key
from starlette.testclient import TestClient

from fedmetric import __version__
from fedmetric.deployment.certificates import public_key_of, sign
from fedmetric.deployment.office import Office, found_office
from fedmetric.deployment.private_files import is_private
from fedmetric.deployment.roster import claim_of
from fedmetric.server.enrolment import Registrar, pages
from fedmetric.wire import PROTOCOL


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return found_office(tmp_path / "deployment", "clinics", ["127.0.0.1"])


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
def registrar(office: Office, nodes: Nodes) -> Registrar:
    return Registrar(office, nodes)


@pytest.fixture
def client(office: Office, registrar: Registrar) -> TestClient:
    app = FastAPI()
    app.include_router(pages(office, registrar))
    return TestClient(app, raise_server_exceptions=False)


def asking(site: str, token: str, number: int = 0) -> dict[str, str]:
    signature = base64.b64encode(sign(key(number), claim_of(site, token))).decode()
    return {"site": site, "token": token, "public_key": public_key_of(key(number)).decode(), "signature": signature}


def knowing(site: str, number: int = 0) -> dict[str, str]:
    return {"site": site, "signature": base64.b64encode(sign(key(number), claim_of(site, "known"))).decode()}


def leaving(site: str, number: int = 0) -> dict[str, str]:
    return {"site": site, "signature": base64.b64encode(sign(key(number), claim_of(site, "leave"))).decode()}


def numbers(office: Office) -> dict[str, int]:
    found: dict[str, int] = json.loads(office.nodes.read_text())
    return found


def test_hello_tells_the_version_and_the_protocol(client: TestClient) -> None:
    answer = client.get("/fedmetric/hello")
    assert answer.json() == {"federation": "clinics", "version": __version__, "protocol": PROTOCOL}


def test_a_site_that_enrols_is_a_node_at_once(client: TestClient, office: Office, nodes: Nodes) -> None:
    answer = client.post("/fedmetric/enrol", json=asking("north", office.invite("north").token))
    assert (answer.status_code, answer.json()["enrolled"]) == (200, "north")
    assert list(nodes.here().values()) == [public_key_of(key(0))]
    assert list(nodes.names.values()) == ["north"]
    assert numbers(office) == {"north": 7000}
    assert is_private(office.nodes)


def test_a_site_may_repeat_itself_and_stays_one_node(client: TestClient, office: Office, nodes: Nodes) -> None:
    request = asking("north", office.invite("north").token)
    answers = [client.post("/fedmetric/enrol", json=request) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert list(nodes.here()) == [7000]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token": "wrong"}, "the request was not signed with it"),
        ({"site": "south"}, "the request was not signed with it"),
        ({"signature": base64.b64encode(b"x" * 100).decode()}, "the request was not signed with it"),
        ({"public_key": "no key"}, "the key is no EC P-384 key"),
        ({"signature": "!!"}, "the signature is not written in base64"),
        ({"signature": "ä"}, "signature is needed, as plain text"),
        ({"site": "../up"}, "'../up' cannot be a name"),
        ({"site": ""}, "'' cannot be a name"),
    ],
)
def test_a_request_that_is_wrong_is_refused_with_the_reason(
    changes: dict[str, str], message: str, client: TestClient, office: Office, nodes: Nodes
) -> None:
    answer = client.post("/fedmetric/enrol", json=asking("north", office.invite("north").token) | changes)
    assert answer.status_code == 403
    assert message in answer.json()["error"]
    assert nodes.all == {}
    assert [member.status for member in office.roster.members()] == ["invited"]


def test_a_stranger_without_an_invite_is_refused(client: TestClient, nodes: Nodes) -> None:
    answer = client.post("/fedmetric/enrol", json=asking("north", "guessed"))
    assert (answer.status_code, answer.json()["error"]) == (
        403, "this invite is not known, or was revoked; ask for a new one"
    )  # fmt: skip
    assert nodes.all == {}


WRONG = [None, True, 3, 1.5, [], {}, "\ud800", "ä", "x" * 10_000, ["a"], {"a": 1}]


@pytest.mark.parametrize("page", ["enrol", "leave"])
@pytest.mark.parametrize("name", ["site", "token", "public_key", "signature"])
def test_parts_of_a_wrong_kind_are_refused_and_never_an_error_of_the_servers(
    page: str, name: str, client: TestClient, office: Office
) -> None:
    right = asking("north", office.invite("north").token)
    for value in WRONG:
        answer = client.post(f"/fedmetric/{page}", content=json.dumps(right | {name: value}), headers=JSON)
        assert (value, answer.status_code) == (value, 403)
        assert "error" in answer.json()
    del right[name]
    assert client.post(f"/fedmetric/{page}", json=right).status_code == 403


JSON = {"content-type": "application/json"}
BODIES = [
    b"", b"{", b"null", b"3", b'"text"', b"[]", b'["\\ud800"]', b"[NaN]", b"[1e999]", b"\xff\xfe", b"\0", b"{}",
    b'{"site": NaN}', b'{"site": {"site": ["\\ud800"]}}', b"[" * 60_000, b'{"a":' * 9_000, b"[" * 900 + b"]" * 900,
]  # fmt: skip


@pytest.mark.parametrize("page", ["enrol", "leave"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data", ""])
def test_bodies_that_are_no_request_are_refused_and_never_an_error_of_the_servers(
    page: str, kind: str, client: TestClient, nodes: Nodes
) -> None:
    for body in BODIES:
        answer = client.post(f"/fedmetric/{page}", content=body, headers={"content-type": kind})
        assert 400 <= answer.status_code < 500, body
    assert nodes.all == {}


def test_a_site_may_leave_and_nobody_else_may_send_it_away(client: TestClient, office: Office, nodes: Nodes) -> None:
    for number, site in enumerate(("north", "south")):
        client.post("/fedmetric/enrol", json=asking(site, office.invite(site).token, number))
    for request in (leaving("north", 1), leaving("east"), {"site": "north"}, {**leaving("north"), "site": "south"}):
        answer = client.post("/fedmetric/leave", json=request)
        assert answer.status_code == 403
        assert answer.json()["error"] == "this site is not enrolled here, or the request is not signed by it"
    assert len(nodes.here()) == 2
    assert client.post("/fedmetric/leave", json=leaving("north")).json() == {"left": "north"}
    assert numbers(office) == {"south": 7001}
    assert list(nodes.here()) == [7001]
    assert client.post("/fedmetric/leave", json=leaving("north")).status_code == 403


def test_a_site_is_told_whether_a_process_of_its_is_connected(client: TestClient, office: Office, nodes: Nodes) -> None:
    client.post("/fedmetric/enrol", json=asking("north", office.invite("north").token))
    assert client.post("/fedmetric/known", json=knowing("north")).json() == {"connected": False}
    nodes.connected.add(7000)
    assert client.post("/fedmetric/known", json=knowing("north")).json() == {"connected": True}
    assert client.post("/fedmetric/known", json=knowing("north", 1)).status_code == 403
