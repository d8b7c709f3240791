"""The table of the worst and the best groups of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from fedmetric.report.tables import percent

SHOWN = 8
Group = Mapping[str, Any]


def group_table(groups: Mapping[str, Sequence[Group]], by: str) -> Table:
    """Draw the groups that the trained encoder does worst and best on, by Recall@1 and then MAP@R.

    Args:
        groups: for each of "trained", "pixels" and "random" the same groups in the same order, each with its "name",
            "images", "recall@1" and "map@r".
        by: what the groups are.
    """
    trained, pixels, random = (groups[row] for row in ("trained", "pixels", "random"))
    known = [place for place, group in enumerate(trained) if group["recall@1"]["mean"] is not None]
    known.sort(key=lambda place: (trained[place]["recall@1"]["mean"], trained[place]["map@r"]["mean"]))
    left_out = max(0, len(known) - 2 * SHOWN)
    caption = [f"{len(trained)} groups; percent; the gallery is always the whole set"]
    if len(known) < len(trained):
        caption.append(f"{len(trained) - len(known)} groups without two images of a class are left out")
    table = Table(title=f"by {by}, worst first", title_justify="left", caption="\n".join(caption))
    table.caption_justify = "left"
    table.add_column(by, max_width=26, no_wrap=True, overflow="ellipsis")
    for column in ("images", "MAP@R", "Recall@1", "pixels", "random"):
        table.add_column(column, justify="right", no_wrap=True)
    for number, place in enumerate(known):
        if left_out and SHOWN <= number < len(known) - SHOWN:
            if number == SHOWN:
                table.add_row(f"... {left_out} more", "", "", "", "", "")
            continue
        group = trained[place]
        figures = (group["map@r"], group["recall@1"], pixels[place]["recall@1"], random[place]["recall@1"])
        means = (percent({**figure, "ci95": None}) for figure in figures)
        table.add_row(group["name"], str(group["images"]), *means)
    return table
