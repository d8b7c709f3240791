"""The gate, called as a server calls it: what may be reached from where, and how much may be sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from fedmetric.server.gate import CONTROL_HEADER, OWN, SMALL, Gate

OUTSIDE, HERE = ("203.0.113.5", 50_000), ("127.0.0.1", 50_000)
SECRET = "the-control-secret"
LIMIT = 100_000
PASSED = 200


class Behind:
    """An application that answers whatever reaches it, and keeps what it was sent."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.body = b""
        self.broken_off = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.paths.append(scope.get("path", scope["type"]))
        more = scope["type"] == "http"
        while more:
            message = await receive()
            self.broken_off = message["type"] == "http.disconnect"
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        await send({"type": "http.response.start", "status": PASSED, "headers": []})


@pytest.fixture
def behind() -> Behind:
    return Behind()


def ask(
    behind: Behind,
    path: str,
    client: tuple[str, int] | None = OUTSIDE,
    pieces: Sequence[bytes] = (b"",),
    secret: str = SECRET,
    kind: str = "http",
    **headers: str,
) -> list[dict[str, Any]]:
    """Send one request through the gate, its body in pieces, and return what was sent back."""
    named = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
    scope = {"type": kind, "path": path, "headers": named, "client": client}
    waiting = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    waiting[-1]["more_body"] = False
    sent: list[dict[str, Any]] = []

    async def receive() -> Any:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Gate(behind, secret, LIMIT)(scope, receive, send))
    return sent


def status(behind: Behind, path: str, client: tuple[str, int] | None = OUTSIDE, **given: Any) -> int:
    return int(ask(behind, path, client, **given)[0]["status"])


def with_secret(secret: str = SECRET) -> dict[str, str]:
    return {CONTROL_HEADER.replace("-", "_"): secret}


@pytest.mark.parametrize("path", ["/v1/fleet/ActivateNode", *OWN])
@pytest.mark.parametrize("client", [OUTSIDE, HERE, ("2001:db8::7", 1), None])
def test_sites_reach_the_fleet_and_the_own_pages_from_anywhere(path: str, client: Any, behind: Behind) -> None:
    assert status(behind, path, client) == PASSED
    assert behind.paths == [path]


@pytest.mark.parametrize("client", [HERE, ("127.8.9.1", 1), ("::1", 1)])
def test_the_own_machine_reaches_the_runtime_and_with_the_secret_control(client: Any, behind: Behind) -> None:
    assert status(behind, "/v1/runtime/PullMessage", client) == PASSED
    assert status(behind, "/v1/control/StartRun", client, **with_secret()) == PASSED


@pytest.mark.parametrize("path", ["/v1/runtime/PullMessage", "/v1/control/StartRun"])
@pytest.mark.parametrize("client", [OUTSIDE, ("10.0.0.1", 1), ("2001:db8::7", 1), ("testclient", 1), ("", 1), None])
def test_nobody_else_reaches_them_even_with_the_secret(path: str, client: Any, behind: Behind) -> None:
    assert status(behind, path, client, **with_secret()) == 404
    assert status(behind, path, client, x_forwarded_for="127.0.0.1", forwarded="for=127.0.0.1", **with_secret()) == 404
    assert behind.paths == []


@pytest.mark.parametrize("secret", ["", "wrong", SECRET[:-1], SECRET + "x", SECRET.upper(), "ä"])
def test_control_is_closed_without_the_right_secret(secret: str, behind: Behind) -> None:
    assert status(behind, "/v1/control/StartRun", HERE) == 404
    assert status(behind, "/v1/control/StartRun", HERE, **with_secret(secret)) == 404
    assert behind.paths == []


def test_a_secret_that_was_lost_opens_nothing(behind: Behind) -> None:
    assert status(behind, "/v1/control/StartRun", HERE, secret="") == 404
    assert status(behind, "/v1/control/StartRun", HERE, secret="", **with_secret("")) == 404


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/v1//control/x", "//v1/control/x", "/v1/Control/x",
        "/docs", "/openapi.json", "/redoc", "/health", "/v1", "/v1/", "/v1/fleet", "/v1/other/x",
        "/V1/fleet/x", "//v1/fleet/x", "/v1//fleet/x", "/v1/%66leet/x", "/x/v1/fleet/x", "v1/fleet/x", "/fedmetric",
        "/fedmetric/", "/fedmetric/hello/", "/fedmetric//hello", "//fedmetric/hello", "/fedmetric/other",
        "/fedmetric/enrol/../x",
    ],
)  # fmt: skip
@pytest.mark.parametrize("client", [OUTSIDE, HERE])
def test_every_other_path_is_not_found(path: str, client: Any, behind: Behind) -> None:
    start, body = ask(behind, path, client, **with_secret())
    assert (start["status"], body["body"]) == (404, b"not found")
    assert behind.paths == []


@pytest.mark.parametrize("path", ["/v1/fleet/x", "/v1/control/x"])
def test_a_websocket_is_closed(path: str, behind: Behind) -> None:
    assert ask(behind, path, HERE, kind="websocket", **with_secret()) == [{"type": "websocket.close", "code": 1008}]
    assert behind.paths == []


def test_the_application_hears_that_it_begins_and_ends(behind: Behind) -> None:
    asyncio.run(Gate(behind, SECRET, LIMIT)({"type": "lifespan"}, None, _nothing))  # type: ignore[arg-type]
    assert behind.paths == ["lifespan"]


async def _nothing(message: Any) -> None: ...


@pytest.mark.parametrize(("path", "limit"), [("/v1/fleet/x", LIMIT), ("/fedmetric/enrol", SMALL)])
def test_a_request_that_says_it_is_too_large_is_not_read(path: str, limit: int, behind: Behind) -> None:
    assert status(behind, path, content_length=str(limit)) == PASSED
    start, body = ask(behind, path, content_length=str(limit + 1))
    assert (start["status"], body["body"]) == (413, b"the request is larger than this server takes")
    assert status(behind, path, content_length="9" * 5000) == 413
    assert behind.paths == [path]


@pytest.mark.parametrize(("path", "limit"), [("/v1/fleet/x", LIMIT), ("/fedmetric/enrol", SMALL)])
@pytest.mark.parametrize("said", [{}, {"content_length": "5"}, {"content_length": "-1"}, {"content_length": "many"}])
def test_a_body_that_turns_out_too_large_is_broken_off(
    path: str, limit: int, said: dict[str, str], behind: Behind
) -> None:
    ask(behind, path, pieces=[b"x" * (limit // 2)] * 4, **said)
    assert behind.broken_off
    assert len(behind.body) == limit // 2 * 2


def test_a_body_as_large_as_is_allowed_arrives_whole(behind: Behind) -> None:
    ask(behind, "/fedmetric/enrol", pieces=[b"x" * (SMALL // 2), b"y" * (SMALL // 2)])
    assert behind.body == b"x" * (SMALL // 2) + b"y" * (SMALL // 2)
    assert not behind.broken_off
