"""Arguments and options that several commands share."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fedmetric.errors import UsageError

ExperimentArgument = Annotated[
    str, typer.Argument(help="A TOML file, or the name of a preset (see 'fedmetric list presets').")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override one key, such as local.epochs=2; may be given again.")
]
DataOption = Annotated[Path | None, typer.Option("--data", help="Folder of the data sets; by default FEDMETRIC_DATA.")]
DownloadOption = Annotated[
    bool, typer.Option("--allow-download", help="Let torchvision download a data set that is not there.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
InvertOption = Annotated[
    bool | None,
    typer.Option(
        "--invert/--no-invert",
        help="Turn dark ink on white into white ink on black; by default as the model's own images were read.",
    ),
]
TargetOption = Annotated[
    float | None,
    typer.Option("--target-epsilon", help="Solve for the noise that spends this epsilon by the last round."),
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the run; by default the next free runs/NAME.")]
EngineOption = Annotated[Literal["local", "ray"], typer.Option("--engine", help="What carries the messages.")]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers", min=1, help="Client processes; by default one for each core. Results do not depend on it."
    ),
]
FailOnOption = Annotated[
    Literal["collapse"] | None,
    typer.Option("--fail-on", help="End the run with exit code 7 when the embedding space collapses."),
]


def use_data(data: Path | None, allow_download: bool = False) -> None:
    """Hand the data folder to this process and those it starts.

    Raises:
        DataError: the folder does not exist.
    """
    from fedmetric.data.cache import data_root

    if data is not None:
        data_root(data)
        os.environ["FEDMETRIC_DATA"] = str(data.resolve())
    if allow_download:
        os.environ["FEDMETRIC_ALLOW_DOWNLOAD"] = "1"


def with_target(overrides: list[str] | None, target_epsilon: float | None) -> list[str]:
    """Add the epsilon that is wanted to the overrides of an experiment."""
    wanted = [] if target_epsilon is None else [f"privacy.target_epsilon={target_epsilon!r}"]
    return [*(overrides or ()), *wanted]


def check_picture(path: Path | None) -> None:
    """Refuse to draw, before any work, where no file can be.

    Raises:
        UsageError: the folder does not exist, or a folder has this name.
    """
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise UsageError(f"--picture {path}: {'is a folder' if path.is_dir() else 'its folder does not exist'}")


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    print(json.dumps(value, indent=2))
