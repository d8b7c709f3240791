"""A small server that speaks TLS on this machine, as the server of a deployment does."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from fedmetric.deployment.certificates import Pair


class Server(ThreadingHTTPServer):
    """Answers every request alike, and keeps what was asked."""

    def __init__(self, pair: Pair, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Page)
        (folder / "server.pem").write_bytes(pair.certificate + pair.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.status, self.answer = 200, b"{}"
        self.asked: list[tuple[str, str, Any]] = []

    def handle_error(self, request: Any, address: Any) -> None: ...


class Page(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append((self.command, self.path, json.loads(body) if body else None))
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    do_POST = do_GET

    def log_message(self, *arguments: Any) -> None: ...


@contextmanager
def running(pair: Pair, folder: Path) -> Iterator[Server]:
    """Run a server with a certificate and its key."""
    with Server(pair, folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
