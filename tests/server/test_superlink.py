"""Flower's own SuperLink behind the gate, built in this process and called without a port.

This guards the private names of Flower that `fedmetric.server.superlink` uses.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from flower_nodes import Nodes, key
from flwr.common.constant import NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
from flwr.superlink.cli.flower_superlink import _parse_superlink_lifespan_config
from flwr.superlink.routers.fleet.router import router as fleet
from starlette.testclient import TestClient

from fedmetric.deployment.certificates import public_key_of, sign
from fedmetric.deployment.office import Office, found_office
from fedmetric.deployment.roster import claim_of
from fedmetric.server.gate import CONTROL_HEADER
from fedmetric.server.superlink import REMEMBERED, application, flower_arguments

OUTSIDE, HERE = ("203.0.113.5", 50_000), ("127.0.0.1", 50_000)
PROTOBUF = {"content-type": "application/protobuf", "accept": "application/protobuf"}
CONTROL = ("/v1/control/start-run", "/v1/control/list-runs")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return found_office(tmp_path_factory.mktemp("superlink") / "deployment", "clinics", ["127.0.0.1"])


@pytest.fixture(scope="module")
def app(office: Office) -> Iterator[FastAPI]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["pytest"])
        patch.setenv("FLWR_HOME", str(office.folder / "flower"))
        patch.setenv("FLWR_TELEMETRY_ENABLED", "0")
        yield application(office, "127.0.0.1", 9443)[0]


def client(app: FastAPI, address: tuple[str, int], secret: str = "") -> TestClient:
    headers = {CONTROL_HEADER: secret} if secret else {}
    return TestClient(app, "https://testserver", headers=headers, client=address, raise_server_exceptions=False)


def test_flower_is_asked_for_tls_for_keys_and_for_no_installs_at_run_time(office: Office) -> None:
    given = flower_arguments(office, "0.0.0.0", 9443)
    pairs = dict(itertools.pairwise(given))
    assert pairs["--ssl-certfile"] == str(office.certificate)
    assert pairs["--ssl-keyfile"] == str(office.key)
    assert pairs["--ssl-ca-certfile"] == str(office.authority)
    assert (pairs["--host"], pairs["--port"], pairs["--database"]) == ("0.0.0.0", "9443", str(office.database))
    assert {"--enable-supernode-auth", "--disable-runtime-dependency-installation"} <= set(given)
    assert "--insecure" not in given
    assert "--simulation" not in given


def test_flower_understands_them_as_they_are_meant(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["flower-superlink", *flower_arguments(office, "127.0.0.1", 9443)])
    config = _parse_superlink_lifespan_config()
    assert (config.insecure, config.enable_supernode_auth, config.runtime_dependency_install) == (False, True, False)
    assert (config.simulation, config.host, config.port) == (False, "127.0.0.1", 9443)
    assert config.certificates == tuple(p.read_bytes() for p in (office.authority, office.certificate, office.key))


def test_a_stranger_reads_hello_and_none_of_the_pages_that_flower_has_for_others(app: FastAPI, office: Office) -> None:
    stranger = client(app, OUTSIDE, office.control_secret.read_text())
    assert stranger.get("/fedmetric/hello").json()["federation"] == "clinics"
    for path in ("/", "/docs", "/openapi.json", "/health", *CONTROL, "/v1/runtime/get-nodes"):
        for answer in (stranger.get(path), stranger.post(path, headers=PROTOBUF)):
            assert (answer.status_code, answer.content) == (404, b"not found")


def test_control_is_not_found_without_the_secret_and_answers_with_it(app: FastAPI, office: Office) -> None:
    for secret in ("", "wrong"):
        for path in CONTROL:
            answer = client(app, HERE, secret).post(path, headers=PROTOBUF)
            assert (answer.status_code, answer.content) == (404, b"not found")
    assert client(app, HERE, office.control_secret.read_text()).post(CONTROL[1], headers=PROTOBUF).status_code == 200


def test_every_page_of_the_fleet_asks_for_a_nodes_key(app: FastAPI) -> None:
    pages = [route.path for route in fleet.routes if isinstance(route, APIRoute)]
    assert "/v1/fleet/get-fab" in pages
    for path in pages:
        answer = client(app, OUTSIDE).post(path, headers=PROTOBUF)
        assert (path, answer.status_code) == (path, 401)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/fleet/../control/list-runs", "/v1/fleet//../control/list-runs", "/v1/fleet/..%2fcontrol/list-runs",
        "/v1/fleet/%2e%2e/control/list-runs", "/v1/fleet/%2e%2e%2fcontrol%2flist-runs", "/v1//control/list-runs",
        "/v1/runtime/../control/list-runs", "/v1/%63ontrol/list-runs", "//v1/control/list-runs",
    ],
)  # fmt: skip
def test_no_spelling_leads_round_the_gate(path: str, app: FastAPI) -> None:
    for address in (OUTSIDE, HERE):
        assert status(app, path, address) == 404
        assert status(app, unquote(path), address) == 404


def status(app: FastAPI, path: str, address: tuple[str, int]) -> int:
    """Send a request whose path no client has tidied."""
    sent: list[Any] = []
    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
        "scheme": "https", "server": ("testserver", 443), "client": address, "http_version": "1.1",
        "headers": [(b"content-type", b"application/protobuf"), (b"host", b"testserver")],
    }  # fmt: skip

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return int(sent[0]["status"])


def test_a_site_that_enrols_over_the_page_is_a_node_of_flowers(app: FastAPI, office: Office) -> None:
    token = office.invite("north").token
    request = {
        "site": "north",
        "token": token,
        "public_key": public_key_of(key(0)).decode(),
        "signature": base64.b64encode(sign(key(0), claim_of("north", token))).decode(),
    }
    assert client(app, OUTSIDE).post("/fedmetric/enrol", json=request).status_code == 200
    state = app.state.linkstate_factory.state()
    (node,) = state.get_node_info(statuses=REMEMBERED)
    assert (node.public_key, node.name) == (public_key_of(key(0)), "north")
    assert json.loads(office.nodes.read_text()) == {"north": node.node_id}
    farewell = {"site": "north", "signature": base64.b64encode(sign(key(0), claim_of("north", "leave"))).decode()}
    assert client(app, OUTSIDE).post("/fedmetric/leave", json=farewell).status_code == 200
    assert list(state.get_node_info(statuses=REMEMBERED)) == []


def test_flower_does_not_take_a_key_again_that_was_removed_and_neither_do_the_nodes_of_the_tests(app: FastAPI) -> None:
    for nodes in (app.state.linkstate_factory.state(), Nodes()):
        node = nodes.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, b"a key", 30.0, name="south")
        assert nodes.get_node_id_by_public_key(b"a key") == node
        nodes.delete_node(NOOP_FLWR_AID, node)
        assert nodes.get_node_id_by_public_key(b"a key") is None
        with pytest.raises(ValueError, match="already deleted"):
            nodes.delete_node(NOOP_FLWR_AID, node)
        with pytest.raises(ValueError, match="Public key already in use"):
            nodes.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, b"a key", 30.0, name="south")


def test_a_node_that_was_connected_is_not_after_a_restart_until_its_next_heartbeat(office: Office) -> None:
    token = office.invite("west").token
    key_text = public_key_of(key(1)).decode()
    office.roster.enrol("west", token, key_text, sign(key(1), claim_of("west", token)))
    app, registrar = application(office, "127.0.0.1", 9443)
    state = app.state.linkstate_factory.state()
    node = state.get_node_id_by_public_key(key_text.encode())
    assert state.activate_node(node, 30.0)
    assert registrar.is_connected("west")
    assert not state.activate_node(node, 30.0)  # why a site must wait for its earlier process to be forgotten
    registrar = application(office, "127.0.0.1", 9443)[1]
    assert not registrar.is_connected("west")
    assert state.acknowledge_node_heartbeat(node, 30.0)
    assert registrar.is_connected("west")
