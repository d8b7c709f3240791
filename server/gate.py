"""What of Flower's server may be reached from where.

Flower's SuperLink serves everything on one port, and asks for keys on one of its three interfaces only. Whoever reaches
the others can run a program on every site, so this gate lies before them all: sites reach the fleet interface, which
checks their keys; the server's own machine reaches the runtime; control needs a secret too. Anything else is not found.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

CONTROL_HEADER = "x-fedmetric-control"
FLEET, RUNTIME, CONTROL = "/v1/fleet/", "/v1/runtime/", "/v1/control/"
OWN = ("/fedmetric/hello", "/fedmetric/enrol", "/fedmetric/known", "/fedmetric/leave")
SMALL = 65_536
NOT_FOUND, TOO_LARGE = (404, b"not found"), (413, b"the request is larger than this server takes")


class Gate:
    """Middleware that lets through what its sender may ask for, up to a size in bytes."""

    def __init__(self, app: App, secret: str, max_bytes: int) -> None:
        """Wrap an application.

        Args:
            app: what lies behind the gate.
            secret: that a control request must carry in its header.
            max_bytes: of a request from a site; fedmetric's own pages take 64 KiB.
        """
        self._app, self._secret, self._max_bytes = app, secret, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 404 or 413."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http" or not self._may_pass(scope):
            await _refuse(scope, send, *NOT_FOUND)
            return
        limit = SMALL if scope["path"] in OWN else self._max_bytes
        if _said_length(scope) > limit:
            await _refuse(scope, send, *TOO_LARGE)
            return
        await self._app(scope, _counted(receive, limit), send)

    def _may_pass(self, scope: Scope) -> bool:
        path = scope["path"]
        if path.startswith(FLEET) or path in OWN:
            return True
        if not is_loopback(scope):
            return False
        if path.startswith(CONTROL):
            return bool(self._secret) and hmac.compare_digest(_header(scope, CONTROL_HEADER), self._secret.encode())
        return bool(path.startswith(RUNTIME))


def is_loopback(scope: Scope) -> bool:
    """Return whether a request comes from the server's own machine."""
    client = scope.get("client")
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


def _header(scope: Scope, name: str) -> bytes:
    return next((value for key, value in scope["headers"] if key == name.encode()), b"")


def _said_length(scope: Scope) -> int:
    text = _header(scope, "content-length")
    return int(text[:20]) if text.isdigit() else 0  # so many digits are more than any limit


def _counted(receive: Receive, limit: int) -> Receive:
    """Break a body off that turns out larger than it said."""
    seen = 0

    async def counted() -> MutableMapping[str, Any]:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        return {"type": "http.disconnect"} if seen > limit else message

    return counted


async def _refuse(scope: Scope, send: Send, status: int, text: bytes) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": text})
