"""Types for the keyword-only parameters of registered methods.

A method's signature is its configuration: these aliases carry the allowed range, the registry reads them without
importing the method, and the experiment file is checked against them before torch is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError, ValidationInfo

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
    from fedmetric.errors import ConfigError
    from fedmetric.registry import EXTERNAL, ExternalComponent, objectives

    found: dict[str, Component] = {}
    for place, part in enumerate(parts):
        table = {"name": part} if isinstance(part, str) else part.model_dump() if isinstance(part, BaseModel) else part
        name = table.get("name") if isinstance(table, dict) else None
        if not isinstance(name, str):
            raise ValueError(f"part {place} is {part!r}, not the name of an objective or a table with its name")
        if name == "hybrid":
            raise ValueError("a hybrid cannot be part of a hybrid; list its parts themselves")
        if name in found:
            raise ValueError(f"part {place}: '{name}' is listed twice")
        try:
            external = name not in objectives and EXTERNAL.fullmatch(name)
            model: Any = ExternalComponent if external else objectives[name].options
            found[name] = model.model_validate(table)
        except ConfigError as error:
            raise ValueError(f"part {place}: {error}") from error
        except ValidationError as error:
            problems = [_wrong(f"part {place} ({name})", name, problem) for problem in error.errors()]
            raise ValueError("; ".join(problems)) from None
    return tuple(found.values())


def _tables(parts: tuple[Any, ...]) -> tuple[dict[str, Any], ...]:
    """Write every part as a table with all its options, so that equal experiments have equal fingerprints."""
    return tuple(part.model_dump() for part in objective_parts(parts))


def _wrong(where: str, name: str, problem: Any) -> str:
    from fedmetric.registry import nearest, objectives

    key = ".".join(str(step) for step in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = [field for field in objectives[name].options.model_fields if field != "name"]
        return f"{where}: unknown key '{key}'{nearest(key, known)}; allowed here: {', '.join(known)}"
    return f"{where}: {key}: {problem['msg'].removeprefix('Value error, ')}, not {problem['input']!r}"


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
PartWeights = Annotated[tuple[NonNegative, ...], Field(validate_default=True), AfterValidator(_one_for_each_part)]

__all__ = [
    "Annotated",
    "Count",
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
