"""`fedmetric list`: what can be named in an experiment."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedmetric.cli.arguments import JsonOption, print_json

if TYPE_CHECKING:
    from fedmetric.config import Experiment
    from fedmetric.config.catalogue import Method

WIDTH = 79


def list_methods(
    kind: Annotated[
        str,
        typer.Argument(
            help="objectives, distances, miners, rules, norms, views, samplers, models, partitions, data, "
            "mechanisms, sweeps or presets."
        ),
    ] = "",
    as_json: JsonOption = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="Print objectives and rules in full, as docs/methods.md.")
    ] = False,
) -> None:
    """List presets and every registered method: what it does, where it comes from, what it shares."""
    if as_markdown:
        from fedmetric.config.catalogue import markdown

        print(markdown(), end="")
        return
    from fedmetric.config import load_experiment, preset_names
    from fedmetric.config.catalogue import objective_methods, rule_methods
    from fedmetric.config.explain import CHOICES
    from fedmetric.errors import UsageError
    from fedmetric.federation.norms import NORM_POLICIES
    from fedmetric.registry import nearest
    from fedmetric.simulations.sweep import load_sweep, sweep_names

    titles = {
        "federation.rule": "rules",
        "local.sampler": "samplers",
        "objective": "objectives",
        "objective.distance": "distances",
        "objective.miner": "miners",
        "model": "models",
        "partition": "partitions",
        "privacy": "mechanisms",
    }
    kinds = {
        titles.get(key, key): {name: registry[name].summary for name in registry} for key, registry in CHOICES.items()
    }
    kinds["norms"] = {name: policy.summary for name, policy in NORM_POLICIES.items()}
    kinds["sweeps"] = {name: load_sweep(Path(name)).summary for name in sweep_names()}
    kinds["presets"] = {name: _preset_summary(load_experiment(name)) for name in preset_names()}
    if kind and kind not in kinds:
        raise UsageError(f"nothing is called '{kind}'{nearest(kind, kinds)}; known: {', '.join(kinds)}")
    chosen = {kind: kinds[kind]} if kind else kinds
    full = {"objectives": objective_methods, "rules": rule_methods}
    if as_json:
        described = {title: {m.name: asdict(m) for m in methods()} for title, methods in full.items()}
        print_json({title: described.get(title, methods) for title, methods in chosen.items()})
        return
    for title, methods in chosen.items():
        print(title)
        details = {m.name: m for m in full[title]()} if kind and title in full else {}
        for name, summary in methods.items():
            if name in details:
                _print_in_full(details[name])
            else:
                print(f"  {name:<20} {textwrap.shorten(summary, WIDTH - 23, placeholder=' ...')}")


def _print_in_full(method: Method) -> None:
    paragraphs = [method.summary, f"Shares {method.shares}.", method.source]
    if method.decomposable is not None:
        paragraphs[1] += " Decomposable." if method.decomposable else " Not decomposable."
    indent = " " * 23
    lines = [line for text in paragraphs if text for line in textwrap.wrap(text, WIDTH - len(indent))]
    print(f"  {method.name:<20} {lines[0]}")
    for line in lines[1:]:
        print(f"{indent}{line}")


def _preset_summary(experiment: Experiment) -> str:
    rule, rounds = experiment.federation.rule.name, experiment.federation.rounds
    return f"{experiment.objective.name} on {experiment.data.name}, {rule}, {rounds} rounds"
