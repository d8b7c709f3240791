"""`fedmetric data`: look at a data set and at how it would be divided, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fedmetric.cli.arguments import (
    DataOption,
    DownloadOption,
    ExperimentArgument,
    JsonOption,
    SetOption,
    print_json,
    use_data,
)

app = typer.Typer(no_args_is_help=True, help="Look at data sets and partitions.")
SHOWN = 40


@app.command()
def inspect(
    experiment: ExperimentArgument,
    overrides: SetOption = None,
    data: DataOption = None,
    allow_download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say what was found: images, classes, groupings, and every file that cannot be used."""
    from fedmetric.config import load_experiment
    from fedmetric.data.cache import load_dataset

    checked = load_experiment(experiment, overrides or ())
    use_data(data, allow_download)
    dataset = load_dataset(checked.data, checked.image_size)
    about: dict[str, dict[str, Any]] = {
        split: {
            "images": len(images),
            "shape": list(images.images.shape[1:]),
            "classes": len(images.present_classes()),
            "unlabelled": int((images.labels < 0).sum()),
            "groupings": {name: len(grouping.names) for name, grouping in images.groupings.items()},
        }
        for split, images in (("train", dataset.train), ("held_out", dataset.held_out))
    }
    if as_json:
        print_json(
            {**about, "skipped": [[item.path, item.reason] for item in dataset.skipped], "notes": list(dataset.notes)}
        )
        return
    for split, facts in about.items():
        shape = "x".join(str(side) for side in facts["shape"])
        counts = f"{facts['images']:,} images {shape}, {facts['classes']} classes, {facts['unlabelled']} unlabelled"
        print(f"{split.replace('_', '-')}: {counts}")
        for name, count in facts["groupings"].items():
            print(f"  grouping '{name}': {count} groups")
    for note in dataset.notes:
        print(f"note: {note}")
    print(f"skipped: {len(dataset.skipped)} files")
    for item in dataset.skipped[:SHOWN]:
        print(f"  {item.path}: {item.reason}")


@app.command()
def partition(
    experiment: ExperimentArgument,
    overrides: SetOption = None,
    preview: Annotated[bool, typer.Option("--preview", help="Also draw a heat map of clients by classes.")] = False,
    picture: Annotated[Path, typer.Option("--picture", help="Where --preview draws.")] = Path("partition.png"),
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which client would hold what, and name clients below the batch size; nothing is trained."""
    from fedmetric.config import load_experiment

    checked = load_experiment(experiment, overrides or ())
    use_data(data)
    from fedmetric.cli.partition_table import show_partition

    rows = show_partition(checked, picture if preview else None, quiet=as_json)
    if as_json:
        print_json(rows)
