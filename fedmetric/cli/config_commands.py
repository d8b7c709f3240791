"""`fedmetric config`: show, check and explain experiments without running them."""

from __future__ import annotations

from typing import Annotated

import typer

from fedmetric.cli.arguments import ExperimentArgument, SetOption, print_json

app = typer.Typer(no_args_is_help=True, help="Show, check and explain experiments.")


@app.command()
def show(experiment: ExperimentArgument, overrides: SetOption = None) -> None:
    """Print the resolved experiment, every default included, as TOML."""
    from fedmetric.config import load_experiment

    print(load_experiment(experiment, overrides or ()).to_toml(), end="")


@app.command()
def validate(experiment: ExperimentArgument, overrides: SetOption = None) -> None:
    """Check an experiment; every problem is listed with its line."""
    from fedmetric.config import load_experiment

    checked = load_experiment(experiment, overrides or ())
    print(f"{experiment}: fine (fingerprint {checked.fingerprint()[:12]})")


@app.command()
def schema() -> None:
    """Print the JSON Schema of experiment files."""
    from fedmetric.config import Experiment

    print_json(Experiment.model_json_schema())


@app.command()
def explain(
    key: Annotated[str, typer.Argument(help="A key such as local.lr, or a section; empty for all.")] = "",
) -> None:
    """Say what a key means, its type and its default."""
    from fedmetric.config.explain import explain_keys

    for line in explain_keys(key):
        print(line)
