"""What every key of an experiment means, from the model itself and the signatures of registered methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic.fields import FieldInfo

from fedmetric.config.experiment import Experiment
from fedmetric.errors import ConfigError
from fedmetric.registry import (
    Registry,
    backbones,
    distances,
    mechanisms,
    miners,
    nearest,
    objectives,
    partitioners,
    rules,
    samplers,
    sources,
    views,
)

CHOICES: dict[str, Registry] = {
    "data": sources,
    "partition": partitioners,
    "views": views,
    "model": backbones,
    "objective": objectives,
    "objective.distance": distances,
    "objective.miner": miners,
    "federation.rule": rules,
    "local.sampler": samplers,
    "privacy": mechanisms,
}
NESTED = {
    "objective.distance": "how a pair loss, its miner and the evaluation compare embeddings",
    "objective.miner": "what a pair loss learns from",
}
"""Options of some methods that name a method themselves."""


def explain_keys(key: str = "") -> list[str]:
    """Describe one key, every key of a section, or with "" all keys, one line each.

    Raises:
        ConfigError: there is no such key; the nearest is named.
    """
    lines = list(_walk(Experiment, ""))
    found = [line for names, line in lines if not key or any(n == key or n.startswith(f"{key}.") for n in names)]
    if not found:
        known = [name for names, _ in lines for name in names]
        raise ConfigError(f"no key '{key}'{nearest(key, known)}; 'fedmetric config explain' lists all")
    return found


def _walk(model: Any, prefix: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the names that a line answers to, and the line."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        if key in CHOICES:
            yield from _methods(key, CHOICES[key], field.description or "")
            for nested in (name for name in NESTED if name.startswith(f"{key}.")):
                yield from _methods(nested, CHOICES[nested], NESTED[nested])
        elif hasattr(field.annotation, "model_fields"):
            yield (key,), f"{key}: {field.description or ''}".splitlines()[0]
            yield from _walk(field.annotation, f"{key}.")
        else:
            yield (key,), f"{key} = {field.default!r} ({_type(field)}): {field.description or ''}"


def _methods(key: str, registry: Registry, description: str) -> Iterator[tuple[tuple[str, ...], str]]:
    yield (key,), f"{key}: {description}; one of {', '.join(registry)}, or module:name"
    for name in registry:
        yield (f"{key}.{name}", f"{key}.name"), f"{key}.name = {name!r}: {registry[name].summary}"
        for option in registry[name].parameters:
            default = "required" if option.default is None else option.default
            names = (f"{key}.{name}.{option.name}", f"{key}.{option.name}")
            yield names, f"  {key}.{option.name} = {default} ({option.annotation}): {option.description}"


def _type(field: FieldInfo) -> str:
    """Write a type as in the source, with its limits, such as `int, ge=2`."""
    kind = field.annotation
    shown = kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind).replace("typing.", "")
    limits = [repr(limit).partition("(")[2].rstrip(")") for limit in field.metadata]
    return ", ".join([shown, *(limit for limit in limits if limit.startswith(("ge=", "gt=", "le=", "lt=")))])
