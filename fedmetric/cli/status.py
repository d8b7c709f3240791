"""`fedmetric status`: how far a run is, from its folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from fedmetric.cli.arguments import JsonOption, print_json

LOOK_SECONDS = 2.0
ENDED = ("done", "failed", "interrupted", "stopped")


def status(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    watch: Annotated[
        bool, typer.Option("--watch", help="Print it again whenever it changes, until the run ends.")
    ] = False,
    prometheus: Annotated[
        Path | None, typer.Option("--prometheus", help="Also write a text file for Prometheus' node exporter (.prom).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say how far a run is: round, clients, loss, figures, and what went wrong."""
    from fedmetric.report.status import lines_of, prometheus_of, status_of
    from fedmetric.runs import RunFolder
    from fedmetric.server.conductor import is_conducted

    run, shown = RunFolder.open(folder), None
    while True:
        found = status_of(run, is_conducted(folder))
        if prometheus is not None:
            temporary = prometheus.with_name(f".{prometheus.name}.writing")
            temporary.write_text(prometheus_of(found, run.experiment.name), encoding="utf-8")
            temporary.replace(prometheus)
        if found != shown:
            if as_json:
                print_json(found)
            else:
                print("\n".join(lines_of(found, run.experiment.name)), flush=True)
            shown = found
        if not watch or found["state"] in ENDED:
            return
        time.sleep(LOOK_SECONDS)
