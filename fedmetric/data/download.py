"""Downloads of public data sets by torchvision, only when the user asked for them with `--allow-download`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fedmetric.errors import DataError

PERMISSION = "FEDMETRIC_ALLOW_DOWNLOAD"
TORCHVISION = {
    "mnist": ("MNIST", ({"train": True}, {"train": False})),
    "fashion-mnist": ("FashionMNIST", ({"train": True}, {"train": False})),
    "cifar10": ("CIFAR10", ({"train": True},)),
    "omniglot": ("Omniglot", ({"background": True}, {"background": False})),
}


def downloads_allowed() -> bool:
    """Return whether the command line was given `--allow-download` (it sets FEDMETRIC_ALLOW_DOWNLOAD=1)."""
    return os.environ.get(PERMISSION) == "1"


def download_or_explain(name: str, root: Path, looked: Sequence[str | Path]) -> None:
    """Fetch a data set that is not there, or say where it was looked for and how to get it.

    Args:
        name: the source's registered name, a key of `TORCHVISION`.
        root: the folder under which torchvision unpacks the set.
        looked: the places where the source looked for its files.

    Raises:
        DataError: downloads are not allowed, or the download failed.
    """
    if not downloads_allowed():
        places = ", ".join(str(place) for place in looked)
        raise DataError(
            f"{name}: not found; looked for {places}. Put the files there, name another folder with --data DIR, "
            "or let torchvision fetch them with --allow-download"
        )
    try:
        fetch(name, root)
    except (OSError, RuntimeError, ImportError) as error:
        raise DataError(f"{name}: the download into {root} failed: {error}") from error


def fetch(name: str, root: Path) -> None:
    """Let torchvision download, check and unpack one data set under `root`."""
    from torchvision import datasets

    attribute, calls = TORCHVISION[name]
    for options in calls:
        getattr(datasets, attribute)(str(root), download=True, **options)
