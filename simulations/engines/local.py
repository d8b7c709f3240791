"""The engine "local": clients in this process or in worker processes of this machine, with no ports and no network."""

from __future__ import annotations

from fedmetric.clients.app import app
from fedmetric.runs import RunFolder
from fedmetric.server.checkpoints import Checkpoint
from fedmetric.server.events import Emit
from fedmetric.server.exchange import Clients
from fedmetric.server.loop import Report, serve
from fedmetric.simulations.engines.grid import LocalGrid
from fedmetric.simulations.engines.inline import InlineWorkers
from fedmetric.simulations.engines.processes import ProcessWorkers
from fedmetric.training.site import Site


def run_local(site: Site, folder: RunFolder, emit: Emit, workers: int, start: Checkpoint | None = None) -> Report:
    """Run an experiment with this many workers; the result does not depend on how many.

    Args:
        site: the experiment and its data.
        folder: the folder of the run.
        emit: called with every event.
        workers: client processes; 1 trains in this process.
        start: a checkpoint to continue from.
    """
    crew = InlineWorkers(app) if workers == 1 else ProcessWorkers(workers)
    try:
        grid = LocalGrid(site.num_clients, crew)
        clients = Clients(grid, sorted(grid.get_node_ids()), crew.window)
        return serve(lambda: clients, site, folder, emit, start, keeper=grid)
    finally:
        crew.close()
