"""How SIGINT and SIGTERM end a command: an error that is raised between two steps, so that a checkpoint is written."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from fedmetric.errors import Interrupted


class Interruption:
    """Whether a signal asked this process to end.

    Its handler raises wherever the main thread is. Where that is a destructor or a library's own clean-up, the error
    goes no further, and the run would go on for good; so what happens between two rounds asks once more.
    """

    def __init__(self) -> None:
        self._number: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raise for the first signal; later ones of its kind are ignored, so that a checkpoint can be written.

        Raises:
            Interrupted: always.
        """
        signal.signal(number, signal.SIG_IGN)
        self._number = number
        raise Interrupted(number)

    def check(self) -> None:
        """Raise if a signal came.

        Raises:
            Interrupted: it did.
        """
        if self._number is not None:
            raise Interrupted(self._number)

    def after_rounds(self, listen: Callable[[Mapping[str, Any]], None]) -> Callable[[Mapping[str, Any]], None]:
        """Return a listener that passes every event of a run on, and checks after those that end a round."""

        def passed_on(event: Mapping[str, Any]) -> None:
            listen(event)
            if event["event"] == "round":
                self.check()

        return passed_on


@contextmanager
def signals_end_the_run() -> Iterator[Interruption]:
    """Let SIGINT and SIGTERM raise `Interrupted` within a block."""
    interruption = Interruption()
    before = {number: signal.signal(number, interruption.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
