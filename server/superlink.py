"""Flower's SuperLink as fedmetric runs it: behind a gate, with the pages on which sites enrol.

A process of its own: `python -m fedmetric.server.superlink DEPLOYMENT --host HOST --port PORT`. Flower itself makes its
application, from its own command line; it gets one middleware and one router more. Names of Flower that are private are
pinned to flwr 1.41 and guarded by a test.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from flwr.supercore.constant import NodeStatus
from flwr.supercore.http_logging import get_uvicorn_log_config
from flwr.superlink.cli.flower_superlink import SuperLinkLifespan, _parse_superlink_lifespan_config
from flwr.superlink.main import create_app

from fedmetric.deployment.office import Office, open_office
from fedmetric.server.enrolment import Registrar, pages
from fedmetric.server.gate import Gate

MAX_BYTES = 1 << 30
LOOK_SECONDS = 1.0
REMEMBERED = (NodeStatus.REGISTERED, NodeStatus.ONLINE, NodeStatus.OFFLINE)


def flower_arguments(office: Office, host: str, port: int) -> list[str]:
    """Return Flower's own arguments: TLS, keys of nodes checked, nothing installed at run time."""
    return [
        "--host", host, "--port", str(port),
        "--ssl-ca-certfile", str(office.authority), "--ssl-certfile", str(office.certificate),
        "--ssl-keyfile", str(office.key), "--database", str(office.database),
        "--enable-supernode-auth", "--disable-runtime-dependency-installation",
    ]  # fmt: skip


def application(
    office: Office, host: str, port: int, max_bytes: int = MAX_BYTES, run: Path | None = None
) -> tuple[FastAPI, Registrar]:
    """Build Flower's application with the gate before it."""
    sys.argv = ["flower-superlink", *flower_arguments(office, host, port)]
    app = create_app(_parse_superlink_lifespan_config(), SuperLinkLifespan)
    state = app.state.linkstate_factory.state()
    registrar = Registrar(office, state)
    registrar.forget_strangers({node.node_id: node.public_key for node in state.get_node_info(statuses=REMEMBERED)})
    registrar.carry_over()
    registrar.expect_news()
    app.include_router(pages(office, registrar, run))
    app.add_middleware(Gate, secret=office.control_secret.read_text(), max_bytes=max_bytes)
    return app, registrar


def main() -> None:
    """Serve until a signal comes."""
    parser = argparse.ArgumentParser(prog="fedmetric.server.superlink")
    parser.add_argument("deployment", type=Path)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-bytes", type=int, default=MAX_BYTES)
    parser.add_argument("--run", type=Path)
    given = parser.parse_args()
    office = open_office(given.deployment)
    app, registrar = application(office, given.host, given.port, given.max_bytes, given.run)
    stop = threading.Event()
    threading.Thread(target=registrar.watch, args=(stop,), daemon=True).start()
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        uvicorn.run(
            app, host=given.host, port=given.port, ssl_keyfile=str(office.key), ssl_certfile=str(office.certificate),
            log_config=get_uvicorn_log_config(logging.INFO), access_log=False, workers=1, proxy_headers=False,
            server_header=False,
        )  # fmt: skip
    finally:
        stop.set()


def end_with_parent(parent: int) -> None:
    """End this process when the one that started it is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
