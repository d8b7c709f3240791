"""Read an experiment from TOML and overrides, and report everything that is wrong with it at once."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fedmetric.config.experiment import DEFAULTS, Experiment
from fedmetric.errors import ConfigError
from fedmetric.registry import nearest

FILE_ENDING = ".toml"


def preset_names() -> list[str]:
    """List the presets that come with fedmetric."""
    folder = resources.files("fedmetric.simulations") / "presets"
    return sorted(item.name.removesuffix(FILE_ENDING) for item in folder.iterdir() if item.name.endswith(FILE_ENDING))


def preset_path(name: str) -> Path:
    """Return the file of a preset.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in preset_names():
        hint = nearest(name, preset_names())
        raise ConfigError(f"no file and no preset '{name}'{hint}; presets: {', '.join(preset_names())}")
    return Path(str(resources.files("fedmetric.simulations") / "presets" / f"{name}{FILE_ENDING}"))


def load_experiment(source: str | os.PathLike[str], overrides: Iterable[str] = ()) -> Experiment:
    """Read a TOML file, or a preset by name, and apply overrides of the form `a.b=value`.

    Raises:
        ConfigError: one error that lists every problem, each with its key, its line and what is allowed.
    """
    path = Path(source)
    if not (path.suffix == FILE_ENDING or path.is_file()):
        path = preset_path(str(source))
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as a TOML file: {error}") from error
    return parse_experiment(text, str(path), overrides)


def parse_experiment(text: str, origin: str = "experiment", overrides: Iterable[str] = ()) -> Experiment:
    """Check the text of an experiment; `origin` names it in errors. See `load_experiment`."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{origin}: not valid TOML: {error}") from error
    overridden: dict[tuple[str, ...], str] = {}
    for override in overrides:
        key = _apply(tree, override)
        overridden[key] = override
    tree.setdefault("name", re.sub(r"[^A-Za-z0-9._-]+", "-", Path(origin).stem).strip("-._") or "experiment")
    try:
        return Experiment.model_validate(tree)
    except ValidationError as error:
        problems = [_describe(problem, origin, text, overridden) for problem in error.errors()]
        raise ConfigError("\n".join(dict.fromkeys(problems))) from None


def _apply(tree: dict[str, Any], override: str) -> tuple[str, ...]:
    """Set one `a.b=value` in the tree; a value that is not TOML is taken as a string."""
    key, equals, value = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise ConfigError(f"--set {override!r} is not of the form a.b=value")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    table = tree
    for part in path[:-1]:
        inner = table.get(part, {})
        table[part] = {"name": inner} if isinstance(inner, str) else inner
        table = table[part]
        if not isinstance(table, dict):
            raise ConfigError(f"--set {override!r}: '{part}' is a value, not a table")
    if path[-1] == "name" and len(path) > 1 and table.get("name", DEFAULTS.get(path[:-1])) != parsed:
        table.clear()  # the options of one method mean nothing to another
    table[path[-1]] = parsed
    return path


def _describe(problem: Any, origin: str, text: str, overridden: dict[tuple[str, ...], str]) -> str:
    location = tuple(_real_keys(problem["loc"]))
    key = ".".join(location) or "experiment"
    place = next((f"--set {given}" for path, given in overridden.items() if path == location), None)
    if place is None:
        line = line_of(text, location)
        place = f"{origin}:{line}" if line else origin
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        known = known_keys(location[:-1], problem["loc"])
        hint = nearest(location[-1], known)
        message = f"unknown key{hint}; allowed here: {', '.join(known)}"
    elif problem["type"] not in ("choice_unknown", "choice_missing", "value_error", "missing"):
        message = f"{message}, not {problem['input']!r}"
    return f"{place}: {key}: {message}"


def _real_keys(location: tuple[Any, ...]) -> Iterator[str]:
    """Drop the tags that pydantic puts between a section that chooses a method and the method's own keys."""
    model: Any = Experiment
    previous_was_choice = False
    for part in location:
        if previous_was_choice:
            previous_was_choice = False
            continue
        yield str(part)
        annotation = (
            model.model_fields[part].annotation if model and part in getattr(model, "model_fields", {}) else None
        )
        model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
        previous_was_choice = (
            model is None and getattr(annotation, "__origin__", None) is not None and _is_choice(annotation)
        )


def _is_choice(annotation: Any) -> bool:
    return any(
        isinstance(getattr(member, "__origin__", member), type)
        and issubclass(getattr(member, "__origin__", member), BaseModel)
        for member in getattr(annotation, "__args__", ())
    )


def known_keys(section: tuple[str, ...], location: tuple[Any, ...] = ()) -> list[str]:
    """List the keys allowed in a section; `location` is pydantic's, whose tag tells which method was chosen."""
    model: Any = Experiment
    for depth, part in enumerate(section):
        annotation = model.model_fields[part].annotation
        if isinstance(annotation, type):
            model = annotation
        else:
            tag = location[depth + 1] if len(location) > depth + 1 else None
            members = [getattr(member, "__origin__", member) for member in annotation.__args__]
            model = next((m for m in members if m.model_fields["name"].default == tag), members[0])
    return list(model.model_fields)


def line_of(text: str, location: tuple[str, ...]) -> int | None:
    """Find the line, from 1, where a key (or the nearest table around it) stands in a TOML text."""
    table: tuple[str, ...] = ()
    best: tuple[int, int] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.split("#", 1)[0].strip()
        if content.startswith("[") and content.endswith("]") and "=" not in content:
            table = tuple(part.strip().strip("\"'") for part in content.strip("[]").split("."))
            here = table
        elif "=" in content:
            here = table + tuple(part.strip().strip("\"'") for part in content.split("=", 1)[0].split("."))
        else:
            continue
        if here == location[: len(here)] and (best is None or len(here) > best[0]):
            best = (len(here), number)
    return best[1] if best else None
