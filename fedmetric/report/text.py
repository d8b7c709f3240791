"""Names that come from a disk, made fit for a terminal or a picture."""

from __future__ import annotations


def printable(name: str) -> str:
    """Write what is no printable character as an escape, such as a line break, a colour code or a byte of no text."""
    return "".join(part if part.isprintable() else part.encode("unicode_escape").decode() for part in name)
