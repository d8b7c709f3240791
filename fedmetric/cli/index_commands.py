"""`fedmetric index build | search`."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from fedmetric.cli.arguments import InvertOption, JsonOption, check_picture, print_json

SHOWN = 5

app = typer.Typer(no_args_is_help=True, help="Make a folder of images searchable with a trained model.")


@app.command()
def build(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, or of an exported model.")],
    images: Annotated[Path, typer.Argument(help="Folder of images, at any depth.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The index, new or to bring up to date; by default IMAGES-index here.")
    ] = None,
    invert: InvertOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed a folder of images, or only what is new in it since the last time."""
    from dataclasses import asdict

    from fedmetric.index import build_index
    from fedmetric.report.text import printable

    place = out or Path(f"{images.resolve().name}-index")
    built = build_index(folder, images, place, invert, _show_progress)
    if as_json:
        print_json({"index": str(place), **asdict(built)})
        return
    counts = f"{built.embedded:,} embedded, {built.kept:,} as they were, {built.removed:,} removed"
    print(f"{printable(str(place))}: {built.images:,} images, {built.dimension} dimensions; {counts}")
    for note in built.notes:
        print(note)
    if built.skipped:
        print(f"{len(built.skipped):,} files cannot be used:")
    for item in built.skipped[:SHOWN]:
        print(f"  {printable(item.path)}: {item.reason}")
    if len(built.skipped) > SHOWN:
        print(f"  and {len(built.skipped) - SHOWN:,} more (--json lists them)")


def _show_progress(done: int, wanted: int) -> None:
    if sys.stderr is None:  # closed by whoever started this process
        return
    end = "\r" if sys.stderr.isatty() and done < wanted else "\n"
    with suppress(OSError):  # nobody reads any more; the work goes on
        print(f"{done:,} of {wanted:,} images", end=end, file=sys.stderr, flush=True)


@app.command()
def search(
    index: Annotated[Path, typer.Argument(help="Folder of an index.")],
    queries: Annotated[list[Path], typer.Argument(help="Image files to look for.")],
    top: Annotated[int, typer.Option("--top", min=1, help="Images to find for each.")] = 5,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw the images beside what was found (PNG).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the images of an index that are nearest to given ones, which may be of classes nobody trained on."""
    from dataclasses import asdict

    from fedmetric.errors import UsageError
    from fedmetric.index import Index
    from fedmetric.report.text import printable

    check_picture(picture)
    opened = Index.open(index)
    if picture is not None:
        place = picture.resolve()
        if place.is_relative_to(opened.root) or place in {query.resolve() for query in queries}:
            raise UsageError(f"--picture {picture} lies among the images; choose another place")
    found = list(zip(queries, opened.search(opened.embed(queries), top), strict=True))
    name = opened.model.distance_name
    if as_json:
        hits = [{"query": str(query), "hits": [asdict(hit) for hit in line]} for query, line in found]
        print_json({"root": str(opened.root), "distance": name, "found": hits})
    else:
        print(f"{len(opened):,} images of {printable(str(opened.root))}; {name} distance, 0 is the same")
        for query, line in found:
            print(f"\n{printable(str(query))}")
            for rank, hit in enumerate(line, start=1):
                print(f"{rank:>4}  {hit.distance:.3f}  {printable(hit.path)}")
    if picture is not None:
        from fedmetric.report.found import draw_found

        try:
            draw_found(found, opened.root, picture)
        except OSError as error:
            raise UsageError(f"--picture {picture} cannot be written: {error}") from error
