"""Flower's SuperNode as fedmetric runs it: it takes no other program from the server than the installed one.

A SuperNode runs whatever app a SuperLink hands it. The app of fedmetric is one file that names installed code, and is
the same bytes wherever the same version is installed; so this node takes those bytes and nothing else. Names of Flower
that are private are pinned to flwr 1.41 and guarded by a test.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from logging import ERROR
from pathlib import Path
from typing import Any

from flwr.cli.build import build_fab_from_disk
from flwr.supercore import log
from flwr.supercore.fab import Fab
from flwr.supercore.run import RunNotRunningException
from flwr.supernode import start_client_internal
from flwr.supernode.cli.flower_supernode import flower_supernode

from fedmetric.clients.premises import SITE
from fedmetric.deployment.bundle import write_bundle
from fedmetric.deployment.home import Home, open_home

CONNECTION = "http_request_response"
"""The name under which Flower's node finds its connection."""
PLAIN = "--"
"""In place of a home: what follows are arguments of Flower's own."""


@functools.cache
def installed_app() -> str:
    """Return the SHA-256 of the app of this version, 64 hex digits."""
    with tempfile.TemporaryDirectory() as folder:
        return hashlib.sha256(build_fab_from_disk(write_bundle(Path(folder)).parent)).hexdigest()


def only_installed(get_fab: Callable[[str, int], Fab]) -> Callable[[str, int], Fab]:
    """Wrap how a node fetches an app: another one than the installed is logged, and its message is dropped."""

    def fetch(fab_hash: str, run_id: int) -> Fab:
        fab = get_fab(fab_hash, run_id)
        if hashlib.sha256(fab.content).hexdigest() != installed_app():
            log(
                ERROR,
                "run %s wants to run a program that is not installed here (or another version of fedmetric): refused",
                run_id,
            )
            raise RunNotRunningException
        return fab

    return fetch


@contextmanager
def guarded(connection: Callable[..., Any], *arguments: Any, **named: Any) -> Iterator[tuple[Any, ...]]:
    """Open Flower's connection with the guard in place of its `get_fab`, the fifth of its functions."""
    with connection(*arguments, **named) as functions:
        node, receive, send, get_run, get_fab, *others = functions
        yield (node, receive, send, get_run, only_installed(get_fab), *others)


def flower_arguments(home: Home, port: int) -> list[str]:
    """Return Flower's own arguments: TLS to one authority, this site's key, nothing installed at run time."""
    return [
        "--superlink", home.address, "--root-certificates", str(home.authority),
        "--auth-supernode-private-key", str(home.key),
        "--node-config", f'{SITE}="{home.folder}"', "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip


def run_guarded(arguments: list[str]) -> None:
    """Run Flower's SuperNode in this process, with its own arguments and the guard, until a signal comes."""
    setattr(start_client_internal, CONNECTION, functools.partial(guarded, getattr(start_client_internal, CONNECTION)))
    sys.argv = ["flower-supernode", *arguments]
    flower_supernode()


def main() -> None:
    """Run a site's node, `python -m fedmetric.clients.supernode HOME PORT`, or with Flower's arguments after "--"."""
    if sys.argv[1] == PLAIN:
        run_guarded(sys.argv[2:])
    else:
        run_guarded(flower_arguments(open_home(Path(sys.argv[1])), int(sys.argv[2])))


if __name__ == "__main__":
    main()
