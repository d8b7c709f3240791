"""Types for the keyword-only parameters of registered methods.

A method's signature is its configuration: these aliases carry the allowed range, the registry reads them without
importing the method, and the experiment file is checked against them before torch is loaded.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Interval = tuple[float, float]

__all__ = ["Annotated", "Count", "Field", "Fraction", "Interval", "Literal", "NonNegative", "Positive", "Whole"]
