"""What every key of an experiment means, from the model itself and the signatures of registered methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fedmetric.config.experiment import Experiment
from fedmetric.errors import ConfigError
from fedmetric.registry import Registry, backbones, nearest, objectives, partitioners, rules, sources, views

CHOICES: dict[str, Registry] = {
    "data": sources,
    "partition": partitioners,
    "views": views,
    "model": backbones,
    "objective": objectives,
    "federation.rule": rules,
}


def explain_keys(key: str = "") -> list[str]:
    """Describe one key, every key of a section, or with "" all keys, one line each.

    Raises:
        ConfigError: there is no such key; the nearest is named.
    """
    described = dict(_walk(Experiment, ""))
    found = [line for name, line in described.items() if not key or name == key or name.startswith(f"{key}.")]
    if not found:
        raise ConfigError(f"no key '{key}'{nearest(key, described)}; 'fedmetric config explain' lists all")
    return found


def _walk(model: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        if key in CHOICES:
            yield from _methods(key, CHOICES[key], field.description or "")
        elif hasattr(field.annotation, "model_fields"):
            yield key, f"{key}: {field.description or ''}".splitlines()[0]
            yield from _walk(field.annotation, f"{key}.")
        else:
            yield key, f"{key} = {_shown(field.default)}: {field.description or ''}"


def _methods(key: str, registry: Registry, description: str) -> Iterator[tuple[str, str]]:
    yield key, f"{key}: {description}; one of {', '.join(registry)}, or module:name"
    for name in registry:
        yield f"{key}.{name}", f"{key}.name = {name!r}: {registry[name].summary}"
        for option in registry[name].parameters:
            default = "required" if option.default is None else option.default
            yield f"{key}.{name}.{option.name}", f"  {key}.{option.name} = {default}: {option.description}"


def _shown(default: Any) -> str:
    return "absent" if default is None else repr(default)
