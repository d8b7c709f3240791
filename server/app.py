"""The Flower ServerApp: finds the run that Flower's run configuration names, and conducts it."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedmetric.config import load_experiment
from fedmetric.runs import RunFolder
from fedmetric.server.deployed import conduct_deployed
from fedmetric.server.exchange import Clients
from fedmetric.server.loop import serve, wait_for_nodes
from fedmetric.training.site import Site

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Conduct a run.

    Keys of the run configuration: "run" and "deployment", folders that 'fedmetric serve' has made; or, for people who
    work with Flower's own commands, "experiment" and "out": then every client holds the whole data set and takes the
    part of its place in the order of the nodes.
    """
    config = {key: str(value) for key, value in context.run_config.items()}
    if config.get("run"):
        conduct_deployed(grid, Path(config["run"]), Path(config["deployment"]))
        return
    experiment = load_experiment(config["experiment"])
    folder = RunFolder.create(Path(config.get("out") or f"runs/{experiment.name}"), experiment)
    site = Site(experiment)
    serve(lambda: Clients(grid, wait_for_nodes(grid, site.num_clients)), site, folder, folder.append)
