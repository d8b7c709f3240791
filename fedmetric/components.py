"""Check sections that name a registered method where they stand inside another method's options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from fedmetric.errors import ConfigError

if TYPE_CHECKING:
    from fedmetric.registry import Component, Registry


def checked_components(registry: Registry, given: Iterable[Any], what: str) -> tuple[Component, ...]:
    """Turn names, or tables with a name and options, into checked sections.

    Args:
        registry: of the methods that may be named.
        given: names, tables, or sections.
        what: what one of them is called in messages, such as "part".

    Raises:
        ValueError: an unknown method or a wrong option; says which.
    """
    return tuple(_checked(registry, table, f"{what} {place}") for place, table in enumerate(given))


def _checked(registry: Registry, given: Any, where: str) -> Component:
    from fedmetric.registry import EXTERNAL, ExternalComponent

    table = {"name": given} if isinstance(given, str) else given.model_dump() if isinstance(given, BaseModel) else given
    name = table.get("name") if isinstance(table, dict) else None
    if not isinstance(name, str):
        raise ValueError(f"{where} is {given!r}, not the name of {_article(registry.kind)} or a table with its name")
    try:
        external = name not in registry and EXTERNAL.fullmatch(name)
        model: Any = ExternalComponent if external else registry[name].options
        found: Component = model.model_validate(table)
        return found
    except ConfigError as error:
        raise ValueError(f"{where}: {error}") from error
    except ValidationError as error:
        problems = [_wrong(registry, f"{where} ({name})", name, problem) for problem in error.errors()]
        raise ValueError("; ".join(problems)) from None


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _wrong(registry: Registry, where: str, name: str, problem: Any) -> str:
    from fedmetric.registry import nearest

    key = ".".join(str(step) for step in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = [field for field in registry[name].options.model_fields if field != "name"]
        return f"{where}: unknown key '{key}'{nearest(key, known)}; allowed here: {', '.join(known)}"
    return f"{where}: {key}: {problem['msg'].removeprefix('Value error, ')}, not {problem['input']!r}"
