"""One figure of an audit."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Finding:
    """One figure with its interval, what a guess would get and what a perfect attack would.

    Attributes:
        attack: such as "membership".
        subject: what was attacked, such as "trained" or a control.
        measure: such as "AUC".
        value: the figure; None where it cannot be measured, and `note` says why.
        low: lower end of its 95 % interval, or None where it has none.
        high: upper end.
        chance: the figure of a guess.
        ceiling: the most that an attack of this size can show.
        n: on how many images, clients or canaries.
        note: what must be known to read it.
    """

    attack: str
    subject: str
    measure: str
    value: float | None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    ceiling: float | None = None
    n: int = 0
    note: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)
