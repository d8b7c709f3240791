"""Two ways of doing the same work, timed in turn so that whatever else the machine does falls on both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """Times of two ways, in seconds, run by run.

    Attributes:
        name: what was compared.
        ours: seconds of each run of fedmetric.
        other: seconds of each run of the other way.
        note: what the two did, and whether their results agree.
    """

    name: str
    ours: tuple[float, ...]
    other: tuple[float, ...]
    note: str = ""

    @property
    def ratio(self) -> float:
        """Median over pairs of ours / other: below 1 is faster than the other way."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.ours, self.other, strict=True))

    def row(self) -> str:
        """Write the pair as a line of text."""
        ratios = sorted(mine / theirs for mine, theirs in zip(self.ours, self.other, strict=True))
        mine, theirs = statistics.median(self.ours), statistics.median(self.other)
        speed = f"{self.ratio:.3f}x the time" if self.ratio > 0.5 else f"{1 / self.ratio:.1f}x faster"
        return (
            f"{self.name:<34}{mine:>9.3f} s{theirs:>9.3f} s  {speed} ({ratios[0]:.3f}..{ratios[-1]:.3f})  {self.note}"
        )


def time_pairs(
    name: str, ours: Callable[[], object], other: Callable[[], object], pairs: int, note: str = "", warm_up: bool = True
) -> Pair:
    """Time two functions in turn, the order swapped from pair to pair, after one run of each that does not count."""
    if warm_up:
        ours()
        other()
    seconds: dict[Callable[[], object], list[float]] = {ours: [], other: []}
    for number in range(pairs):
        for function in (ours, other) if number % 2 == 0 else (other, ours):
            began = time.perf_counter()
            function()
            seconds[function].append(time.perf_counter() - began)
    return Pair(name, tuple(seconds[ours]), tuple(seconds[other]), note)
