"""The engine "ray": Flower's own simulation of clients on Ray actors."""

from __future__ import annotations

import importlib.util
import os
from threading import Event
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedmetric.errors import FedmetricError, MissingExtraError
from fedmetric.runs import RunFolder
from fedmetric.server.checkpoints import Checkpoint
from fedmetric.server.events import Emit
from fedmetric.server.exchange import Clients
from fedmetric.server.loop import Report, serve, wait_for_nodes
from fedmetric.training.site import Site

QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0"}


def require_ray() -> None:
    """Check that Ray is installed.

    Raises:
        MissingExtraError: it is not; the message is the pip line.
    """
    if importlib.util.find_spec("ray") is None:
        raise MissingExtraError("ray", "engine 'ray'")


def run_ray(site: Site, folder: RunFolder, emit: Emit, workers: int, start: Checkpoint | None = None) -> Report:
    """Run an experiment on Ray with this many actors; arguments as in `run_local`.

    Clients' own states live in Flower's simulation and are not checkpointed: only rules without client state can be
    resumed.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    require_ray()
    os.environ.update(QUIET)
    from flwr.simulation import run_simulation

    from fedmetric.clients.app import app as client_app

    reports: list[Report] = []
    errors: list[BaseException] = []
    stop = Event()
    server_app = ServerApp()

    def connect(grid: Grid) -> Clients:
        return Clients(grid, wait_for_nodes(grid, site.num_clients), stop=stop)

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        try:
            reports.append(serve(lambda: connect(grid), site, folder, emit, start))
        except BaseException as error:
            errors.append(error)
            raise

    config: dict[str, Any] = {
        "init_args": {"num_cpus": workers, "include_dashboard": False, "_node_ip_address": "127.0.0.1"},
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
    }
    try:
        run_simulation(server_app, client_app, num_supernodes=site.num_clients, backend_config=config)
    except Exception as error:
        raise (errors[0] if errors else FedmetricError(f"the Ray simulation failed: {error}")) from error
    finally:
        stop.set()  # the server's thread must not wait for replies that nobody sends any more
    if errors:
        raise errors[0]
    if not reports:
        raise FedmetricError("the Ray simulation ended without a report")
    return reports[0]
