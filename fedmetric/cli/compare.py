"""`fedmetric compare`: how far image files are apart for a trained model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from fedmetric.cli.arguments import InvertOption, JsonOption, print_json

WIDTH = 79
CELL = 8


def compare(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, or of an exported model.")],
    images: Annotated[list[Path], typer.Argument(help="Two image files or more.")],
    invert: InvertOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the distance of every pair of image files, by the distance that the model was trained for."""
    from fedmetric.errors import UsageError
    from fedmetric.report.text import printable

    if len(images) < 2:
        raise UsageError(f"{len(images)} image given; name two or more to compare")
    name, matrix = distances_of(folder, images, invert)
    if as_json:
        print_json({"distance": name, "images": [str(path) for path in images], "distances": matrix})
        return
    print(f"{printable(str(folder))}: {name} distance, 0 is the same")
    for number, path in enumerate(images, start=1):
        print(f"{number:>4}  {printable(str(path))}")
    for line in table(matrix):
        print(line)


def distances_of(folder: Path, paths: Sequence[Path], invert: bool | None) -> tuple[str, list[list[float]]]:
    """Compare image files in one pass of the model.

    Args:
        folder: of a run or of a model.
        paths: N image files.
        invert: see `decode_image`; None for what the model's own data set says, if it says anything.

    Returns:
        What the distance is called, and N rows of N distances.

    Raises:
        DataError: a file cannot be used; names it and the reason.
        FedmetricError: there is no model.
    """
    import torch
    from torch import nn

    from fedmetric.export import load_model
    from fedmetric.index.embedding import FileEncoder, inverts
    from fedmetric.networks.siamese import SiameseNetwork
    from fedmetric.runs import find_model

    model = load_model(find_model(folder))
    files = FileEncoder(model, inverts(model) if invert is None else invert)
    embeddings = files.embed_all(paths)
    with torch.no_grad():
        matrix: list[list[float]] = SiameseNetwork(nn.Identity(), model.distance.cpu()).matrix(embeddings).tolist()
    return model.distance_name, matrix


def table(matrix: Sequence[Sequence[float]]) -> Iterator[str]:
    """Write a square matrix in lines of at most 79 characters, as many columns at a time as fit."""
    at_once = (WIDTH - 4) // CELL
    for first in range(0, len(matrix), at_once):
        columns = range(first, min(first + at_once, len(matrix)))
        yield ""
        yield "    " + "".join(f"{column + 1:>{CELL}}" for column in columns)
        for row, values in enumerate(matrix, start=1):
            yield f"{row:>4}" + "".join(f"{values[column]:>{CELL}.3f}" for column in columns)
