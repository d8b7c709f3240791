"""Sections of an experiment that choose one registered method: `objective = "simclr"` or a table with its options."""

from __future__ import annotations

from typing import Annotated, Any, Union

from pydantic import BeforeValidator, Discriminator, Tag
from pydantic_core import PydanticCustomError

from fedmetric.registry import EXTERNAL, ExternalComponent, Registry, nearest

EXTERNAL_TAG = "module:name"


def choice(registry: Registry, default: str) -> Any:
    """Build the pydantic type of a section: one model for each registered name, told apart by the key `name`.

    A bare string stands for a table that holds only the name, and a table without a name for the default with other
    options. Unknown names are refused with the nearest known one.
    """

    def expand(section: Any) -> Any:
        if isinstance(section, str):
            section = {"name": section}
        if isinstance(section, dict) and "name" not in section:
            section = {"name": default, **section}
        name = section.get("name") if isinstance(section, dict) else getattr(section, "name", None)
        if not isinstance(name, str):
            raise PydanticCustomError("choice_missing", "{kind} is missing its name", {"kind": registry.kind})
        if name not in registry and not EXTERNAL.fullmatch(name):
            raise PydanticCustomError(
                "choice_unknown",
                "unknown {kind} '{given}'{hint}; known: {known}",
                {
                    "kind": registry.kind,
                    "given": name,
                    "hint": nearest(name, list(registry)),
                    "known": ", ".join(registry),
                },
            )
        return section

    def tag(section: Any) -> str:
        name = section["name"] if isinstance(section, dict) else section.name
        return name if name in registry else EXTERNAL_TAG

    members = [Annotated[registry[name].options, Tag(name)] for name in registry]
    members.append(Annotated[ExternalComponent, Tag(EXTERNAL_TAG)])
    return Annotated[Union[tuple(members)], Discriminator(tag), BeforeValidator(expand)]  # noqa: UP007 - built at run time
