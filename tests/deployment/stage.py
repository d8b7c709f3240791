"""A federation of real processes: one server, some sites, each as its operator would start it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hosts import Hosts

from fedmetric.deployment.office import Office, open_office

FEDMETRIC = [sys.executable, "-m", "fedmetric.cli.app"]
SECONDS = 300.0
QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "OMP_NUM_THREADS": "1"}


class Stage:
    """A server and its sites in one folder; close it to end every process."""

    def __init__(self, folder: Path, experiment: str, sites: dict[str, Path]) -> None:
        """Set up a deployment and invite the sites.

        Args:
            folder: for everything.
            experiment: TOML text.
            sites: folder of images of each site, in the order of the clients.
        """
        self.folder, self.sites = folder, sites
        self.hosts = Hosts(["server", *sites])
        self.port = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.experiment = folder / "experiment.toml"
        self.experiment.write_text(experiment, encoding="utf-8")
        self.call("deploy", "init", "--host", self.hosts.address("server"), "-d", str(self.deployment),
                  "--port", str(self.port), *sites)  # fmt: skip

    @property
    def deployment(self) -> Path:
        """The server's folder."""
        return self.folder / "deployment"

    @property
    def office(self) -> Office:
        """The server's folder, read."""
        return open_office(self.deployment)

    @property
    def run(self) -> Path:
        """The folder of the run."""
        return self.folder / "run"

    def home(self, site: str) -> Path:
        """A site's folder."""
        return self.folder / "homes" / site

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of every process."""
        return {**os.environ, **QUIET, "FEDMETRIC_CACHE": str(self.folder / "cache"), **more}

    def call(self, *words: str, code: int = 0, host: str = "server") -> str:
        """Run a command to its end and return what it printed."""
        command = self.hosts.command(host, [*FEDMETRIC, *words])
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment(), timeout=SECONDS)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def start(self, name: str, host: str, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a command at a host; what it says goes into NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                self.hosts.command(host, [*FEDMETRIC, *words]), stdout=log, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, env=self.environment(**more), cwd=self.folder, start_new_session=True,
            )  # fmt: skip
        self.processes[name] = process
        return process

    def serve(self, *words: str, **more: str) -> subprocess.Popen[bytes]:
        """Start the server with the experiment, or with --resume where the run has begun."""
        begun = (self.run / "experiment.toml").exists()
        what = ["--resume", str(self.run)] if begun else [str(self.experiment), "--out", str(self.run)]
        return self.start("server", "server", "serve", *what, "-d", str(self.deployment), *words, **more)

    def join(self, site: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a site: with its invite the first time, from its folder later."""
        if (self.home(site) / "enrolled").exists():
            return self.start(site, site, "join", "--home", str(self.home(site)), **more)
        invite = str(self.deployment / "invites" / f"{site}.invite")
        data, home = str(self.sites[site]), str(self.home(site))
        return self.start(site, site, "join", invite, "--data", data, "--home", home, **more)

    def join_all(self) -> None:
        """Start every site."""
        for site in self.sites:
            self.join(site)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the run's events of one kind."""
        place = self.run / "events.jsonl"
        lines = place.read_text().splitlines() if place.exists() else []
        return [event for event in map(json.loads, lines) if event["event"] == kind]

    def summary(self) -> dict[str, Any]:
        """Return the run's summary."""
        found: dict[str, Any] = json.loads((self.run / "summary.json").read_text())
        return found

    def log(self, name: str) -> str:
        """Return what a process has said."""
        place = self.folder / f"{name}.log"
        return place.read_text(errors="replace") if place.exists() else ""

    def wait(self, condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
        """Wait until something holds; fails with every log."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(f"== {name}\n{self.log(name)[-3000:]}" for name in self.processes)
                server = self.run / "server.log"
                logs += f"\n== flower\n{server.read_text()[-3000:]}" if server.exists() else ""
                raise AssertionError(f"{what}: not within {seconds:.0f} s\n{logs}")
            time.sleep(0.2)

    def finish(self, code: int = 0, seconds: float = SECONDS) -> str:
        """Wait until the server ends with this exit code, and return the hash of the weights."""
        server = self.processes["server"]
        self.wait(lambda: server.poll() is not None, "the server ends", seconds)
        assert server.returncode == code, self.log("server")
        return str(self.summary()["weights_sha256"])

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a process and all that it started."""
        for pid in tree_of(self.processes[name].pid):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def close(self) -> None:
        """End everything."""
        for name, process in self.processes.items():
            self.kill(name)
            process.wait()
        self.processes.clear()
        self.hosts.close()


def tree_of(root: int) -> list[int]:
    """Return a process and all below it; Linux."""
    parents: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(place.parent.name))
    found, waiting = [], [root]
    while waiting:
        found.append(waiting.pop())
        waiting += parents.get(found[-1], [])
    return found


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def names(paths: Sequence[Path]) -> dict[str, Path]:
    """Return folders by name."""
    return {path.name: path for path in paths}
