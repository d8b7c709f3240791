"""`fedmetric sweep`: many runs from one file, and their table."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from fedmetric.cli.arguments import DataOption, use_data
from fedmetric.cli.run_commands import signals_end_the_run


def sweep(
    file: Annotated[Path, typer.Argument(help="A TOML file with a base, axes, rows and seeds, or a sweep's name.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the runs; by default runs/NAME.")] = None,
    data: DataOption = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Runs at a time; by default one for each core.")
    ] = None,
    only_table: Annotated[bool, typer.Option("--table", help="Run nothing; print the table of what is done.")] = False,
) -> None:
    """Run every cell of a sweep that is not done yet, then print the table of all; give it again to go on."""
    from fedmetric.errors import FedmetricError
    from fedmetric.simulations.engines.processes import default_workers
    from fedmetric.simulations.sweep import cells_of, load_sweep, run_sweep
    from fedmetric.simulations.sweep_table import sweep_table

    use_data(data)
    cells = cells_of(load_sweep(file))
    folder = out or Path("runs") / file.stem
    failed = []
    if not only_table:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the runs: each has one worker
        with signals_end_the_run():
            failed = run_sweep(cells, folder, jobs or default_workers(), _tell)
    table = sweep_table(cells, folder)
    if folder.is_dir():
        (folder / "table.md").write_text(table, encoding="utf-8")
    print(table, end="")
    if failed:
        log = folder / f"{failed[0].folder}.log"
        raise FedmetricError(f"{len(failed)} cells failed; see {log}; give the sweep again to retry")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
