"""Who conducts a run: one process at a time, which holds a lock on a file in the run's folder while it lives.

A lock and not a number alone: a process that was killed keeps its number until its parent looks after it, and numbers
are given out again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fedmetric.errors import UsageError

FILE = "conductor.pid"


@contextmanager
def conducting(run: Path) -> Iterator[None]:
    """Conduct a run for the time of a block.

    Raises:
        UsageError: another process does.
    """
    descriptor = os.open(run / FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"{run} is being conducted by another process already; wait for it, or end it") from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_conducted(run: Path) -> bool:
    """Return whether a living process conducts a run."""
    try:
        descriptor = os.open(run / FILE, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def signal_conductor(run: Path, number: int) -> None:
    """Send a signal to the process that conducts a run; nothing happens where there is none."""
    if is_conducted(run) and (process := (run / FILE).read_text()):
        os.kill(int(process), number)
