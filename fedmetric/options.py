"""Types for the keyword-only parameters of registered methods.

A method's signature is its configuration: these aliases carry the allowed range, the registry reads them without
importing the method, and the experiment file is checked against them before torch is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from fedmetric.components import checked_components

if TYPE_CHECKING:
    from fedmetric.registry import Component


def _ordered(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError(f"an interval is [smallest, largest], not {list(interval)}")
    return interval


def objective_parts(parts: tuple[Any, ...]) -> tuple[Component, ...]:
    """Check the parts of a hybrid objective, names or tables with a name, against the objectives' own options.

    Raises:
        ValueError: an unknown or repeated objective, a hybrid, or a wrong option; says in which part.
    """
    from fedmetric.registry import objectives

    found = checked_components(objectives, parts, "part")
    names = [part.name for part in found]
    if "hybrid" in names:
        raise ValueError("a hybrid cannot be part of a hybrid; list its parts themselves")
    if doubled := [place for place, name in enumerate(names) if name in names[:place]]:
        raise ValueError(f"part {doubled[0]}: '{names[doubled[0]]}' is listed twice")
    return found


def _tables(parts: tuple[Any, ...]) -> tuple[dict[str, Any], ...]:
    """Write every part as a table with all its options, so that equal experiments have equal fingerprints."""
    return tuple(part.model_dump() for part in objective_parts(parts))


def _encoder_tables(encoders: tuple[Any, ...]) -> tuple[dict[str, Any], ...]:
    from fedmetric.registry import backbones

    return tuple(encoder.model_dump() for encoder in checked_components(backbones, encoders, "encoder"))


def _one_for_each_part(weights: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
    parts = info.data.get("parts", weights)  # missing when the parts themselves are wrong
    if len(weights) != len(parts):
        raise ValueError(f"{len(weights)} weights for {len(parts)} parts; give one weight for each part")
    if not any(weights):
        raise ValueError("every weight is 0; give at least one part a weight above 0")
    return weights


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Interval = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
Shares = Annotated[tuple[Fraction, Fraction], AfterValidator(_ordered)]
ObjectiveParts = Annotated[tuple[Any, ...], Field(min_length=1, validate_default=True), AfterValidator(_tables)]
Encoders = Annotated[tuple[Any, ...], AfterValidator(_encoder_tables)]
PartWeights = Annotated[tuple[NonNegative, ...], Field(validate_default=True), AfterValidator(_one_for_each_part)]

__all__ = [
    "Annotated",
    "Count",
    "Encoders",
    "Field",
    "Fraction",
    "Interval",
    "Literal",
    "NonNegative",
    "ObjectiveParts",
    "PartWeights",
    "Positive",
    "Shares",
    "Whole",
    "objective_parts",
]
