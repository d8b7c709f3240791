"""A run whose clients are other people's machines: which node is which site, how long to wait, how to be stopped."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

from flwr.serverapp import Grid

from fedmetric.deployment.office import Office, open_office
from fedmetric.errors import FedmetricError, Interrupted, TooFewClientsError, UsageError
from fedmetric.server.checkpoints import Checkpoint
from fedmetric.server.enrolment import SETTING
from fedmetric.server.events import Emit
from fedmetric.server.exchange import Clients, Identities
from fedmetric.server.loop import Report, plan_of, serve
from fedmetric.server.supervise import go_on, supervise
from fedmetric.training.apart import EvaluationOnly

TERMS = "deployment.json"
LOOK_SECONDS = 0.5
log = logging.getLogger("fedmetric.server")


@dataclass(frozen=True)
class Terms:
    """What a deployed run has beside its experiment; kept in its folder, so that it is resumed with the same clients.

    Attributes:
        sites: the name of each client's site, by client index.
        quorum: sites that must be connected before a round begins.
        patience: seconds that a round waits for a reply.
        gathering: seconds to wait for the quorum, before the first round and before every other.
    """

    sites: tuple[str, ...]
    quorum: int
    patience: float = 3600.0
    gathering: float = 3600.0

    def write(self, folder: Path) -> None:
        """Write the terms into a run's folder."""
        (folder / TERMS).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")


def read_terms(folder: Path) -> Terms:
    """Read the terms of a run.

    Raises:
        UsageError: they are missing or damaged: the run was not begun by 'fedmetric serve'.
    """
    try:
        found = json.loads((folder / TERMS).read_text(encoding="utf-8"))
        return Terms(**{**found, "sites": tuple(found["sites"])})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder} was not begun by 'fedmetric serve': {error}") from error


class SiteNodes(Sequence[int | None]):
    """The node of every client, looked up anew each time: a site may have been revoked, or come with another key."""

    def __init__(self, office: Office, sites: Sequence[str]) -> None:
        self._office, self._sites = office, sites

    def numbers(self) -> dict[str, int]:
        """Return the numbers that the running SuperLink gave the sites, by name."""
        try:
            found: dict[str, int] = json.loads(self._office.nodes.read_text(encoding="utf-8"))
            return found
        except (OSError, ValueError):
            return {}

    def __len__(self) -> int:
        return len(self._sites)

    @overload
    def __getitem__(self, client: int) -> int | None: ...
    @overload
    def __getitem__(self, client: slice) -> Sequence[int | None]: ...
    def __getitem__(self, client: Any) -> Any:
        """Return a client's node; None for a site that is not registered."""
        numbers = self.numbers()
        return numbers.get(self._sites[client])


def conduct_deployed(grid: Grid, run: Path, deployment: Path) -> None:
    """Begin a run or go on with it, until it is done or this process is asked to stop.

    Raises:
        FedmetricError: the run failed, or was stopped; its summary says how.
    """
    terms, office = read_terms(run), open_office(deployment)
    nodes = SiteNodes(office, terms.sites)
    with stopped_by_signals() as stop:
        beginning = go_on(run)

        def gather(cohort: Sequence[int]) -> None:
            gather_quorum(grid, nodes, cohort, terms, stop)

        def conduct(emit: Emit, start: Checkpoint | None) -> Report:
            site = EvaluationOnly(beginning.experiment, len(terms.sites))
            (run / SETTING).write_text(json.dumps(asdict(plan_of(site).setting)), encoding="utf-8")
            clients = Clients(grid, nodes, None, stop, terms.patience, gather, identities_of(office, terms.sites))
            return serve(lambda: clients, site, beginning.folder, emit, start, clients_remember=True)

        try:
            supervise(beginning, _quiet, conduct)
        except Interrupted as interruption:
            raise FedmetricError(str(interruption)) from interruption  # Flower knows Exceptions only


def identities_of(office: Office, sites: Sequence[str]) -> Identities:
    """Return the register of the sites' public keys: the roster, as it is now, whatever key a site shows."""

    def registered(client: int, shown: bytes) -> bytes:
        members = office.roster.members()
        keys = [m.public_key for m in members if m.site == sites[client] and m.status == "enrolled"]
        return keys[0].encode() if keys else b""

    return registered


def gather_quorum(
    grid: Grid,
    nodes: SiteNodes,
    cohort: Sequence[int],
    terms: Terms,
    stop: threading.Event,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Wait until enough of a cohort are connected.

    Raises:
        TooFewClientsError: they were not within the time; the message names who is missing.
        Interrupted: a signal came.
    """
    deadline = clock() + terms.gathering
    wanted = min(terms.quorum, len(cohort))
    while True:
        online = set(grid.get_node_ids())
        missing = [terms.sites[client] for client in cohort if nodes[client] not in online]
        if len(cohort) - len(missing) >= wanted:
            return
        if stop.is_set():
            raise Interrupted(signal.SIGTERM)
        if clock() > deadline:
            raise TooFewClientsError(
                f"{len(cohort) - len(missing)} of {len(cohort)} sites are connected after {terms.gathering:.0f} s, "
                f"{wanted} are needed; missing: {', '.join(missing)}"
            )
        stop.wait(LOOK_SECONDS)


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Set an event when this process is told to end."""
    stop = threading.Event()
    earlier = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _quiet(event: Any) -> None:
    """Leave events to the run's folder, where 'fedmetric serve' reads them."""
