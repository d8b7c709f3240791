"""Ports of this machine."""

from __future__ import annotations

import socket

from fedmetric.errors import UsageError

DEFAULT_PORT = 9443
"""Of a deployment's server."""


def check_free(bind: str, port: int) -> None:
    """Refuse an address that cannot be listened at.

    Raises:
        UsageError: it is taken, or not this machine's.
    """
    with socket.socket(socket.AF_INET6 if ":" in bind else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
        except OSError as error:
            raise UsageError(
                f"cannot listen at {bind} port {port}: {error}; another server may be running, or --bind is wrong"
            ) from error
