"""Check sections that name a registered method where they stand inside another method's options."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, GetJsonSchemaHandler, ValidationError

from fedmetric.errors import ConfigError

if TYPE_CHECKING:
    from fedmetric.registry import Component, Registry


@dataclass(frozen=True)
class OneOf:
    """Describes an option that names a method, in the JSON schema of experiments.

    Attributes:
        registry: name of the registry in `fedmetric.registry`.
    """

    registry: str

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """List the tables that may stand here; a bare name stands for its table."""
        from fedmetric import registry

        known = getattr(registry, self.registry).values()
        return {"anyOf": [{"type": "string"}, *(entry.options.model_json_schema() for entry in known)]}


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


def checked_component(registry: Registry, given: Any) -> Component:
    """Turn one name, or one table with a name and options, into a checked section; see `checked_components`."""
    return _checked(registry, given, "")


def _checked(registry: Registry, given: Any, where: str) -> Component:
    from fedmetric.registry import EXTERNAL, ExternalComponent

    table = {"name": given} if isinstance(given, str) else given.model_dump() if isinstance(given, BaseModel) else given
    name = table.get("name") if isinstance(table, dict) else None
    if not isinstance(name, str):
        raise ValueError(
            f"{where or 'it'} is {given!r}, not the name of {_article(registry.kind)} or a table with its name"
        )
    try:
        external = name not in registry and EXTERNAL.fullmatch(name)
        model: Any = ExternalComponent if external else registry[name].options
        found: Component = model.model_validate(table)
        return found
    except ConfigError as error:
        raise ValueError(f"{where}: {error}" if where else str(error)) from error
    except ValidationError as error:
        place = f"{where} ({name})" if where else name
        problems = [_wrong(registry, place, name, problem) for problem in error.errors()]
        raise ValueError("; ".join(problems)) from None


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _wrong(registry: Registry, where: str, name: str, problem: Any) -> str:
    from fedmetric.registry import nearest

    key = ".".join(str(step) for step in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = [field for field in registry[name].options.model_fields if field != "name"]
        allowed = ", ".join(known) or "nothing but the name"
        return f"{where}: unknown key '{key}'{nearest(key, known)}; allowed here: {allowed}"
    return f"{where}: {key}: {problem['msg'].removeprefix('Value error, ')}, not {problem['input']!r}"
