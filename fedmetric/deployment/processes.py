"""The environment in which Flower's processes are started: no telemetry, no looking for updates, a home of their own.

Flower reads these when it is imported, so they are set for a process before it starts.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

QUIET = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}


def environment(folder: Path) -> dict[str, str]:
    """Return the environment for a process whose Flower lives in a folder and finds its commands beside this Python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, **QUIET, "FLWR_HOME": str(folder / "flower"), "PATH": path}
