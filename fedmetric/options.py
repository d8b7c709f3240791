"""Types for the keyword-only parameters of registered methods.

A method's signature is its configuration: these aliases carry the allowed range, the registry reads them without
importing the method, and the experiment file is checked against them before torch is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, ValidationInfo

from fedmetric.components import OneOf, checked_component, checked_components

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


def chosen_distance(given: Any) -> Component:
    """Check a distance, a name or a table with a name, against the distances' own options.

    Raises:
        ValueError: an unknown distance or a wrong option.
    """
    from fedmetric.registry import distances

    return checked_component(distances, given)


def chosen_miner(given: Any, mines: str = "pairs") -> Component:
    """Check a miner, a name or a table with a name, against the miners' own options.

    Args:
        given: the name or the table.
        mines: what the loss learns from, "pairs" (or triplets) or "quadruplets".

    Raises:
        ValueError: an unknown miner, a wrong option, or a miner of something else; names those that fit.
    """
    from fedmetric.registry import miners

    found = checked_component(miners, given)
    if miners[found.name].traits.get("mines", "pairs") != mines:
        able = [name for name in miners if miners[name].traits.get("mines", "pairs") == mines]
        raise ValueError(f"miner '{found.name}' does not mine {mines}; choose one of {', '.join(able)}")
    return found


def _distance_table(given: Any) -> dict[str, Any]:
    return chosen_distance(given).model_dump()


def _pair_miner_table(given: Any) -> dict[str, Any]:
    return chosen_miner(given).model_dump()


def _quadruplet_miner_table(given: Any) -> dict[str, Any]:
    return chosen_miner(given, "quadruplets").model_dump()


def _one_for_each_part(weights: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
    parts = info.data.get("parts", weights)  # missing when the parts themselves are wrong
    if len(weights) != len(parts):
        raise ValueError(f"{len(weights)} weights for {len(parts)} parts; give one weight for each part")
    if not any(weights):
        raise ValueError("every weight is 0; give at least one part a weight above 0")
    return weights


def _stage_tables(stages: tuple[Any, ...], info: ValidationInfo) -> tuple[dict[str, Any], ...]:
    found = []
    for place, stage in enumerate(stages):
        if not isinstance(stage, dict) or set(stage) != {"rounds", "weights"}:
            raise ValueError(f"stage {place} is {stage!r}, not a table of rounds and weights")
        if not isinstance(stage["rounds"], int) or isinstance(stage["rounds"], bool) or stage["rounds"] < 1:
            raise ValueError(f"stage {place}: rounds is {stage['rounds']!r}, a whole number of at least 1 is needed")
        try:
            weights = _WEIGHTS.validate_python(stage["weights"])
            found.append({"rounds": stage["rounds"], "weights": list(_one_for_each_part(weights, info))})
        except ValueError as error:
            raise ValueError(f"stage {place}: weights: {_first_line(error)}") from None
    return tuple(found)


def _first_line(error: ValueError) -> str:
    return error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)


Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]
Dropped = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Interval = Annotated[tuple[Positive, Positive], AfterValidator(_ordered)]
Shares = Annotated[tuple[Fraction, Fraction], AfterValidator(_ordered)]
ObjectiveParts = Annotated[tuple[Any, ...], Field(min_length=1, validate_default=True), AfterValidator(_tables)]
Encoders = Annotated[tuple[Any, ...], AfterValidator(_encoder_tables)]
Stages = Annotated[tuple[Any, ...], AfterValidator(_stage_tables)]
DistanceChoice = Annotated[Any, Field(validate_default=True), AfterValidator(_distance_table), OneOf("distances")]
PairMiner = Annotated[Any, Field(validate_default=True), AfterValidator(_pair_miner_table), OneOf("miners")]
QuadrupletMiner = Annotated[Any, Field(validate_default=True), AfterValidator(_quadruplet_miner_table), OneOf("miners")]
PartWeights = Annotated[tuple[NonNegative, ...], Field(validate_default=True), AfterValidator(_one_for_each_part)]
_WEIGHTS: TypeAdapter[tuple[float, ...]] = TypeAdapter(tuple[NonNegative, ...])

__all__ = [
    "Annotated",
    "Count",
    "DistanceChoice",
    "Dropped",
    "Encoders",
    "Field",
    "Fraction",
    "Interval",
    "Literal",
    "NonNegative",
    "ObjectiveParts",
    "OpenFraction",
    "PairMiner",
    "PartWeights",
    "Positive",
    "QuadrupletMiner",
    "Shares",
    "Stages",
    "Whole",
    "chosen_distance",
    "chosen_miner",
    "objective_parts",
]
