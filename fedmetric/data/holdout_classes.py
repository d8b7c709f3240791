"""Choose which of the user's classes nobody trains on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase

from fedmetric.errors import ConfigError, DataError
from fedmetric.registry import nearest


def classes_named(classes: Sequence[str], patterns: Sequence[str], name: str) -> set[str]:
    """Return the classes that match any of the names or globs.

    Args:
        classes: all classes.
        patterns: names, or globs such as "bird-*".
        name: of the data set, for errors.

    Raises:
        ConfigError: a pattern matches nothing, or all classes are named.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        matching = {label for label in classes if label == pattern or fnmatchcase(label, pattern)}
        if not matching:
            shown = ", ".join(classes[:10]) + (", ..." if len(classes) > 10 else "")
            hint = nearest(pattern, list(classes))
            raise ConfigError(
                f"data.held_out: no class of {name} matches {pattern!r}{hint}; classes: {shown or 'none'}"
            )
        chosen |= matching
    if chosen and len(chosen) == len(set(classes)):
        raise ConfigError(f"data.held_out holds out all {len(chosen)} classes of {name} and leaves none to train on")
    return chosen


def classes_by_hash(classes: Sequence[str], share: float) -> set[str]:
    """Return a share of the classes, chosen by the sha256 of their names, so that no seed and no file order matters.

    At least one is held out and one is left if there are two classes and the share is above 0; else none is held out.
    """
    unique = sorted(set(classes), key=lambda label: hashlib.sha256(label.encode()).digest())
    if share == 0 or len(unique) < 2:
        return set()
    return set(unique[: min(len(unique) - 1, max(1, round(share * len(unique))))])


def classes_of_split(labels: Sequence[str | None], splits: Sequence[str], name: str) -> set[str]:
    """Return the classes that a manifest marks as held out.

    Args:
        labels: (N,) class of each image.
        splits: (N,) "train", "held-out" or "".
        name: of the data set, for errors.

    Raises:
        DataError: images of one class are in both splits, so that it would not be unseen.
    """
    held_out = {label for label, split in zip(labels, splits, strict=True) if split == "held-out" and label is not None}
    trained = {label for label, split in zip(labels, splits, strict=True) if split != "held-out" and label is not None}
    if both := sorted(held_out & trained):
        shown = ", ".join(both[:5]) + (", ..." if len(both) > 5 else "")
        raise DataError(
            f"{name}: {len(both)} classes have rows in both splits: {shown}; a held-out class must be unseen"
        )
    return held_out
