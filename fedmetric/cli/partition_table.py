"""The table and the picture of `fedmetric data partition`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedmetric.config import Experiment
from fedmetric.data.preview import heat_map, partition_table
from fedmetric.training.site import Site

SHOWN = 40


def show_partition(experiment: Experiment, picture: Path | None, quiet: bool) -> list[dict[str, Any]]:
    """Print what every client would hold, and draw it if a place for the picture is given; return the rows."""
    site = Site(experiment)
    images, batch = site.training_images, experiment.local.batch_size
    rows = partition_table(images, site.parts, batch)
    if not quiet:
        print(f"{len(rows)} clients, {len(images):,} images, {len(images.present_classes())} classes")
        print(f"{'client':<8}{'name':<40}{'images':>8}{'classes':>9}")
        for row in rows[:SHOWN]:
            flag = "  below batch size" if row.below_batch else ""
            print(f"{row.client:<8}{row.name[:38]:<40}{row.images:>8}{row.classes:>9}{flag}")
        if len(rows) > SHOWN:
            print(f"... and {len(rows) - SHOWN} more (--json lists all)")
        small = sum(row.below_batch for row in rows)
        print(
            f"{small} clients hold fewer images than local.batch_size={batch}"
            + ("; they shrink their batch" if small else "")
        )
    if picture is not None:
        heat_map(images, site.parts, picture)
        if not quiet:
            print(f"picture: {picture}")
    return [asdict(row) for row in rows]
