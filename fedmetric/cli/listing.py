"""`fedmetric list`: what can be named in an experiment."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from fedmetric.cli.arguments import JsonOption, print_json

if TYPE_CHECKING:
    from fedmetric.config import Experiment


def list_methods(
    kind: Annotated[
        str, typer.Argument(help="objectives, rules, views, models, partitions, data or presets; empty for all.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """List presets and every registered method with its one-line description."""
    from fedmetric.config import load_experiment, preset_names
    from fedmetric.config.explain import CHOICES
    from fedmetric.errors import UsageError
    from fedmetric.registry import nearest

    titles = {"federation.rule": "rules", "objective": "objectives", "model": "models", "partition": "partitions"}
    kinds = {
        titles.get(key, key): {name: registry[name].summary for name in registry} for key, registry in CHOICES.items()
    }
    kinds["presets"] = {name: _preset_summary(load_experiment(name)) for name in preset_names()}
    if kind and kind not in kinds:
        raise UsageError(f"nothing is called '{kind}'{nearest(kind, kinds)}; known: {', '.join(kinds)}")
    chosen = {kind: kinds[kind]} if kind else kinds
    if as_json:
        print_json(chosen)
        return
    for title, methods in chosen.items():
        print(title)
        for name, summary in methods.items():
            print(f"  {name:<20} {textwrap.shorten(summary, 78 - 23, placeholder=' ...')}")


def _preset_summary(experiment: Experiment) -> str:
    rule, rounds = experiment.federation.rule.name, experiment.federation.rounds
    return f"{experiment.objective.name} on {experiment.data.name}, {rule}, {rounds} rounds"
