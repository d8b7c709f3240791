"""What is said of a run's privacy: the guarantee, what it was to cost, and what it has cost."""

from __future__ import annotations

import math
from typing import Any

from fedmetric.privacy.accounting import epsilon_of
from fedmetric.privacy.base import NOT_PRIVATE, Mechanism
from fedmetric.privacy.ledger import Ledger
from fedmetric.privacy.schedule import Schedule


def statement_of(mechanism: Mechanism, schedule: Schedule, ledger: Ledger | None = None) -> dict[str, Any]:
    """Return the guarantee as plain values, with "planned" epsilon and, given a ledger, "epsilon" and "charges".

    An epsilon is None where there is none, without noise or where noise can be drawn again, and where it is not known
    here, because only the clients know how many images they have. Empty without a guarantee.
    """
    guarantee = mechanism.guarantee(schedule)
    if guarantee is None:
        return {}
    void = guarantee.label.startswith(NOT_PRIVATE)
    found: dict[str, Any] = guarantee.to_plain()
    planned = mechanism.planned(schedule)
    found["planned"] = None if void or not planned else _finite(epsilon_of(planned, guarantee.delta))
    known = bool(planned) or (ledger is not None and bool(ledger.entries))
    if not known and not void:
        found["label"] = ELSEWHERE
    if ledger is not None:
        found["charges"] = len(ledger.entries)
        found["epsilon"] = None if void or not known else _finite(ledger.epsilon(guarantee.delta))
    return found


ELSEWHERE = "not counted here: every client keeps a ledger of its own"


def _finite(epsilon: float) -> float | None:
    return epsilon if math.isfinite(epsilon) else None


def sentence_of(statement: dict[str, Any], key: str = "epsilon") -> str:
    """Say in one line what is claimed, or that nothing is.

    Args:
        statement: as `statement_of` made it.
        key: which epsilon, "epsilon" or "planned".
    """
    epsilon, label = statement[key], statement["label"]
    if label.startswith(NOT_PRIVATE) or epsilon is None:
        return f"privacy: {label or NOT_PRIVATE}"
    said = f"privacy: ({epsilon:.3g}, {statement['delta']:g})-differential, unit {statement['unit']}"
    return f"{said}; {label}" if label else said
