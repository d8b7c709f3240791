"""`fedmetric sweep`: many runs from one file, and their table."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from fedmetric.cli.arguments import DataOption, use_data
from fedmetric.cli.interruption import signals_end_the_run


def sweep(
    file: Annotated[Path, typer.Argument(help="A TOML file with a base, axes, rows and seeds, or a sweep's name.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the runs; by default runs/NAME.")] = None,
    data: DataOption = None,
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, help="Runs at a time; by default one for each core.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Run every cell with seeds 1 to N, in place of the file's.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="A score to show, such as recall@1; repeat it for several.")
    ] = None,
    only_table: Annotated[bool, typer.Option("--table", help="Run nothing; print the table of what is done.")] = False,
) -> None:
    """Run every cell of a sweep that is not done yet, then print the table of all; give it again to go on."""
    from fedmetric.errors import FedmetricError
    from fedmetric.simulations.engines.processes import default_workers
    from fedmetric.simulations.run_search import run_search
    from fedmetric.simulations.sweep import Cell, cells_of, check_classes_untouched, load_sweep, run_sweep, with_seeds
    from fedmetric.simulations.sweep_table import COLUMNS, sweep_table

    use_data(data)
    wanted = load_sweep(file)
    if seeds:
        wanted = with_seeds(wanted, seeds)
    folder = out or Path("runs") / file.stem
    failed: list[Cell] = []
    if wanted.search:
        with signals_end_the_run():
            os.environ.setdefault("OMP_NUM_THREADS", "1")
            cells, failed = run_search(wanted, folder, jobs or default_workers(), _tell, only_table)
    else:
        cells = cells_of(wanted)
        check_classes_untouched(wanted, cells)
    if not only_table and not wanted.search:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the runs: each has one worker
        with signals_end_the_run():
            failed = run_sweep(cells, folder, jobs or default_workers(), _tell)
    wanted_columns = column or ([*COLUMNS[2:4], wanted.search.metric] if wanted.search else [])
    table = sweep_table(cells, folder, list(dict.fromkeys(wanted_columns)))
    if folder.is_dir():
        (folder / "table.md").write_text(table, encoding="utf-8")
    print(table, end="")
    if failed:
        log = folder / f"{failed[0].folder}.log"
        raise FedmetricError(f"{len(failed)} cells failed; see {log}; give the sweep again to retry")


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
