"""Tell grey images from coloured ones by the headers of their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

SAMPLE = 256
GREY_MODES = frozenset({"1", "L", "LA"})


def channels_of(paths: Sequence[Path], colour: str) -> int:
    """Return 1 or 3: how many channels to read a set with.

    Args:
        paths: the image files.
        colour: grey, rgb, or auto for 3 if one of up to `SAMPLE` evenly spaced files has colour.
    """
    if colour != "auto":
        return 1 if colour == "grey" else 3
    step = max(1, -(-len(paths) // SAMPLE))
    return 3 if any(has_colour(path) for path in paths[::step]) else 1


def has_colour(path: Path) -> bool:
    """Return whether an image file's header announces colour; False for a file that cannot be opened."""
    try:
        with Image.open(path) as picture:
            return picture.mode not in GREY_MODES and not picture.mode.startswith(("I", "F"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
