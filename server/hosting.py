"""A deployed run as its operator sees it: Flower's server is started, the run submitted and followed, all is stopped.

The work is done by other processes: Flower's SuperLink, and under it the ServerApp. This one watches what they write.
"""

from __future__ import annotations

import json
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedmetric.deployment.office import Office
from fedmetric.deployment.ports import check_free
from fedmetric.deployment.processes import environment
from fedmetric.errors import FedmetricError
from fedmetric.runs import EVENTS, RunFolder
from fedmetric.server.conductor import is_conducted, signal_conductor
from fedmetric.server.control import start_app
from fedmetric.server.events import Emit

LOG = "server.log"
UP_SECONDS, DOWN_SECONDS, LOOK_SECONDS = 60.0, 8.0, 0.2
BEGIN_SECONDS = 120.0
LITTLE_BYTES = 1 << 16
TAIL = 12


def host_run(office: Office, folder: RunFolder, listen: Emit, bind: str, port: int) -> dict[str, Any]:
    """Let a run be conducted for the sites of a deployment, and return its summary.

    Args:
        office: the deployment.
        folder: of the run, with its terms; see `fedmetric.server.deployed.Terms`.
        listen: called with every event.
        bind: address to listen at.
        port: to listen at.

    Raises:
        UsageError: the port is taken.
        Interrupted: a signal came; the last finished round is in a checkpoint.
        FedmetricError: the run failed, or one of the processes died.
    """
    log = folder.path / LOG
    with superlink(office, bind, port, folder.path) as process:
        start_app(office, port, {"run": str(folder.path.absolute()), "deployment": str(office.folder)})
        try:
            return follow(folder, listen, process, log)
        finally:
            end_conductor(folder.path)


@contextmanager
def superlink(office: Office, bind: str, port: int, run: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start Flower's server behind the gate for a run, wait until it answers, and stop it in the end."""
    check_free(bind, port)
    log = run / LOG
    command = [sys.executable, "-m", "fedmetric.server.superlink", str(office.folder), "--host", bind]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--run", str(run.absolute())],
            stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment(office.folder),
            start_new_session=True,
        )  # fmt: skip
    try:
        wait_until_up(office, port, process, log)
        yield process
    finally:
        stop(process)


def wait_until_up(office: Office, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the server answers.

    Raises:
        FedmetricError: it ended, or did not answer in time; shows the end of its log.
    """
    context = ssl.create_default_context(cafile=str(office.authority))
    deadline = time.monotonic() + UP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"https://127.0.0.1:{port}/fedmetric/hello", context=context, timeout=5):
                return
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLError):
                raise FedmetricError(f"the server's own certificate is not valid: {error.reason}") from error
            time.sleep(LOOK_SECONDS)
    raise FedmetricError(f"Flower's server did not start; the end of {log}:\n{tail(log)}")


def follow(folder: RunFolder, listen: Emit, process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    """Pass on every event of a run until it has ended, and return its summary.

    Raises:
        FedmetricError: the run failed, or the process that conducts it is gone.
    """
    events, begin = event_lines(folder.path / EVENTS), time.monotonic() + BEGIN_SECONDS
    began = False
    while True:
        for event in next(events):
            listen(event)
        if (summary := folder.summary()) is not None:
            for event in next(events):
                listen(event)
            if summary["status"] != "done":
                raise RunFailedError(summary)
            return summary
        conducted = is_conducted(folder.path)
        began, gone = began or conducted, began and not conducted
        lost = process.poll() is not None or gone or (not began and time.monotonic() > begin)
        if lost and folder.summary() is None:
            raise FedmetricError(
                f"the process that conducts the run is gone{why(folder.path)}; continue with 'fedmetric serve --resume "
                f"{folder.path}'; the end of {log}:\n{tail(log)}"
            )
        time.sleep(LOOK_SECONDS)


class RunFailedError(FedmetricError):
    """Report a run that ended with an error, with the exit code that its summary states."""

    def __init__(self, summary: Mapping[str, Any]) -> None:
        super().__init__(str(summary.get("error", "the run failed")))
        self.exit_code = int(summary["exit_code"])


def event_lines(path: Path) -> Iterator[list[dict[str, Any]]]:
    """Yield, each time, the events that were added to a file since the last time; half a line waits for its end."""
    place, rest = 0, b""
    while True:
        found: list[dict[str, Any]] = []
        if path.is_file():
            with path.open("rb") as stream:
                stream.seek(place)
                *lines, rest = (rest + stream.read()).split(b"\n")
                place = stream.tell()
            found = [json.loads(line) for line in lines if line]
        yield found


def end_conductor(run: Path) -> None:
    """Ask the process that conducts a run to end, and wait until it has written its last checkpoint.

    One that does not hear, such as while it tries to reach a SuperLink that is gone, is killed: runs survive that.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        signal_conductor(run, number)
        deadline = time.monotonic() + DOWN_SECONDS
        while is_conducted(run) and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process: politely, then not."""
    process.terminate()
    try:
        process.wait(DOWN_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def why(run: Path) -> str:
    """Return the one reason for which a process can leave no word behind: there is no room for it."""
    return ": no space left on the disk of its folder" if shutil.disk_usage(run).free < LITTLE_BYTES else ""


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]) if log.is_file() else ""
