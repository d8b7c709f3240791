"""The command line; every command imports what it needs, so that help, checks and `doctor` never load torch."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fedmetric import __version__
from fedmetric.cli import (
    config_commands,
    data_commands,
    deploy_commands,
    index_commands,
    privacy_commands,
    run_commands,
)
from fedmetric.cli.benchmarks import benchmarks
from fedmetric.cli.compare import compare
from fedmetric.cli.doctor import doctor
from fedmetric.cli.join import join, leave
from fedmetric.cli.listing import list_methods
from fedmetric.cli.serve import serve
from fedmetric.cli.status import status
from fedmetric.cli.sweep import sweep
from fedmetric.errors import FedmetricError, Interrupted

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train embedding networks across private image collections, federated and self-supervised.",
)
app.command("demo")(run_commands.demo)
app.command("run")(run_commands.run)
app.command("resume")(run_commands.resume)
app.command("eval")(run_commands.evaluate)
app.command("compare")(compare)
app.add_typer(index_commands.app, name="index")
app.command("sweep")(sweep)
app.add_typer(data_commands.app, name="data")
app.command("list")(list_methods)
app.add_typer(config_commands.app, name="config")
app.add_typer(privacy_commands.app, name="privacy")
app.command("benchmarks")(benchmarks)
app.add_typer(deploy_commands.app, name="deploy")
app.command("serve")(serve)
app.command("status")(status)
app.command("join")(join)
app.command("leave")(leave)
app.command("doctor")(doctor)


@app.callback(invoke_without_command=True)
def about(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    """Answer --version."""
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line; a mistake of the user is one clear message and an exit code, never a traceback."""
    try:
        app()
    except FedmetricError as error:
        print(f"fedmetric: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Interrupted as interruption:
        print(f"fedmetric: {interruption}", file=sys.stderr)
        sys.exit(interruption.exit_code)


if __name__ == "__main__":
    main()
