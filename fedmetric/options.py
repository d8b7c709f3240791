"""Types for the keyword-only parameters of registered methods.

A method's signature is its configuration: these aliases carry the allowed range, the registry reads them without
importing the method, and the experiment file is checked against them before torch is loaded.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field


def _ordered(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError(f"an interval is [smallest, largest], not {list(interval)}")
    return interval


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Interval = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
Shares = Annotated[tuple[Fraction, Fraction], AfterValidator(_ordered)]

__all__ = [
    "Annotated",
    "Count",
    "Field",
    "Fraction",
    "Interval",
    "Literal",
    "NonNegative",
    "Positive",
    "Shares",
    "Whole",
]
