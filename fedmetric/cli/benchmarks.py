"""`fedmetric benchmarks`: speed as ratios, each measured side by side in one run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from fedmetric.cli.arguments import JsonOption, print_json


def benchmarks(
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="Interleaved runs of each side.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """Time federation, views, evaluator and search against the obvious alternative, in interleaved pairs."""
    from fedmetric.simulations.benchmarks.augmentation import augmentation_speed
    from fedmetric.simulations.benchmarks.federation import federation_overhead
    from fedmetric.simulations.benchmarks.retrieval import evaluator_speed, require_faiss
    from fedmetric.simulations.benchmarks.search import search_speed
    from fedmetric.training.allocator import keep_freed_memory

    require_faiss()
    keep_freed_memory()  # as worker processes do
    rows = []
    for measure in (augmentation_speed, evaluator_speed, search_speed, federation_overhead):
        for pair in measure(pairs):
            rows.append({**asdict(pair), "ratio": pair.ratio})
            if not as_json:
                print(pair.row(), flush=True)
    if as_json:
        print_json(rows)
