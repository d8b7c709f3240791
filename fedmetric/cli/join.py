"""`fedmetric join | leave`: put a client beside a folder of images."""

from __future__ import annotations

import json
import os
import socket
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedmetric.cli.arguments import JsonOption, print_json
from fedmetric.errors import UsageError

if TYPE_CHECKING:
    from fedmetric.deployment.home import Home

HomeOption = Annotated[
    Path | None,
    typer.Option("--home", help="Folder of the site: its key and settings; by default under ~/.local/state/fedmetric."),
]


def join(
    invite: Annotated[str | None, typer.Argument(help="The invite, or a file that holds it; needed once.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="The folder of this site's images.")] = None,
    home: HomeOption = None,
    offline: Annotated[
        Path | None,
        typer.Option("--offline", help="Write what the server needs to enrol this site into a file, and stop."),
    ] = None,
    rehearse: Annotated[
        bool,
        typer.Option("--dry-run", help="Train one batch, list every tensor and figure that would leave, and stop."),
    ] = False,
    experiment: Annotated[
        str | None,
        typer.Option("--experiment", help="With --dry-run: an experiment to try, in place of the server's."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Join a federation and train whenever its server asks, until stopped; the images stay where they are.

    Give it again to go on: the key and what was learnt so far are kept in the site's folder.
    """
    from fedmetric.clients.enrol import enrol, enrolment, hello, patiently, wait_alone
    from fedmetric.clients.limits import Limits
    from fedmetric.deployment.home import default_home, open_home, settle
    from fedmetric.deployment.invite import read_invite
    from fedmetric.deployment.private_files import write_private

    if invite is not None:
        if data is None or not data.is_dir():
            raise UsageError(f"--data {data} is no folder; name the folder of this site's images")
        read = read_invite(invite)
        found = settle(home or default_home(read.federation, read.site), read, data)
        print(f"site '{found.site}' of '{found.federation}', server {found.address}, home {found.folder}")
        print(f"trusts the authority with the fingerprint {read.fingerprint}")
        if offline is not None:
            write_private(offline, json.dumps(enrolment(found, read)).encode())
            found.mark_enrolled(read.token)
            print(f"{offline}: holds the invite's token; at the server: 'fedmetric deploy enrol {found.site} FILE'")
            return
        if not found.enrolled:
            patiently(lambda: enrol(found, read), print_now)
            print("enrolled: the server knows this site's key")
    elif home is None:
        raise UsageError("give an invite, or --home with the folder of a site that has joined before")
    else:
        found = open_home(home)
    Limits.read(found.limits)
    if rehearse:
        show_dry_run(found, experiment, as_json)
        return
    patiently(lambda: hello(found), print_now)
    wait_alone(found, print_now)  # a site that was revoked is told so, and does not try for ever
    run_node(found)


def show_dry_run(home: Home, experiment: str | None, as_json: bool) -> None:
    """Print what would leave."""
    from fedmetric.clients.dry_run import asked_of, dry_run
    from fedmetric.config import load_experiment

    asked, setting = (load_experiment(experiment), {}) if experiment else asked_of(home)
    found = dry_run(home, asked, setting)
    if as_json:
        print_json({"rows": found.rows, "images": found.images, "bytes": found.bytes_up, "seconds": found.seconds})
        return
    for note in found.notes:
        print(note)
    print(f"{found.images:,} images would be trained on; {found.skipped} files cannot be used")
    print(f"one batch took {found.seconds:.1f} s, this process {found.memory / 1e6:,.0f} MB")
    print(f"\nin each round {len(found.rows)} tensors and figures would leave, {found.bytes_up:,} bytes:")
    for kind, rows in groupby(found.rows, key=lambda row: row["kind"]):
        print(f"{kind}:")
        for row in rows:
            shape = "x".join(map(str, row["shape"])) or "one"
            print(f"  {row['name']:<43}{shape:>13}  {row['dtype']:<8}{row['bytes']:>9,}")
    print("nothing has left")


def run_node(home: Home) -> None:
    """Become Flower's SuperNode; does not return."""
    from fedmetric.deployment.processes import environment

    print(f"training images in {home.data}; what happens is written to {home.log}", flush=True)
    command = [sys.executable, "-m", "fedmetric.clients.supernode", str(home.folder), str(free_port())]
    os.execve(sys.executable, command, environment(home.folder))


def print_now(text: str) -> None:
    """Print a line at once, where it may take long until the next one."""
    print(text, flush=True)


def free_port() -> int:
    """Return a port of this machine that nobody listens at, for Flower's own processes to talk to one another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def leave(
    home: Annotated[Path, typer.Argument(help="Folder of the site.")],
    force: Annotated[bool, typer.Option("--force", help="Also when the server cannot be told.")] = False,
) -> None:
    """Leave a federation: the server forgets the key, and the site's folder is removed. Images are not touched."""
    from fedmetric.clients.enrol import leave as say_goodbye
    from fedmetric.deployment.home import open_home
    from fedmetric.errors import FedmetricError

    found = open_home(home)
    try:
        say_goodbye(found)
    except FedmetricError as error:
        if not force:
            raise UsageError(f"{error}; --force removes the folder all the same") from error
    kept = "is removed" if found.remove() else "keeps only files that are not the site's"
    print(f"site '{found.site}' has left '{found.federation}'; {found.folder} {kept}")
