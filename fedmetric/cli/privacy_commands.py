"""`fedmetric privacy`: what left, what it costs, what it would cost."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedmetric.cli.arguments import (
    DataOption,
    ExperimentArgument,
    JsonOption,
    SetOption,
    TargetOption,
    print_json,
    use_data,
    with_target,
)
from fedmetric.cli.screen import console

if TYPE_CHECKING:
    from fedmetric.privacy.planning import PrivacyPlan

app = typer.Typer(no_args_is_help=True, help="Plan, report and attack the privacy of a run.")


@app.command("report")
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what has left the clients of a run, in tensors and bytes, and what may be claimed for it."""
    use_data(data)
    from fedmetric.report.privacy import departure_tables, departures_of, spending_of
    from fedmetric.runs import RunFolder

    run = RunFolder.open(folder)
    found = departures_of(run)
    spent = spending_of(run)
    if as_json:
        print_json({"left": found, "privacy": spent})
        return
    screen = console()
    for table in departure_tables(found):
        screen.print(table)
    print(f"in all {found['updates']:,} updates of {found['clients']:,} clients, {found['bytes']:,} bytes")
    if not spent:
        print("privacy: nothing is claimed but that images stay where they are (privacy.name is 'none')")
        return
    from fedmetric.privacy.statement import sentence_of

    print(sentence_of(spent))
    for key in ("adversary", "neighbours", "limits"):
        print(f"  {key}: {spent[key]}")
    print(f"  charges in the ledger: {spent['charges']}")


@app.command("plan")
def plan(
    experiment: ExperimentArgument,
    overrides: SetOption = None,
    data: DataOption = None,
    target_epsilon: TargetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what an experiment's privacy would cost, before it is run: epsilon by round, and how loud the noise is.

    Exit code 1 where the noise would leave nothing to learn from.
    """
    from fedmetric.config import load_experiment
    from fedmetric.errors import ConfigError

    checked = load_experiment(experiment, with_target(overrides, target_epsilon))
    use_data(data)
    from fedmetric.training.private import plan_of

    found = plan_of(checked)
    if found is None:
        raise ConfigError("the experiment claims no privacy: set privacy.name; 'fedmetric list mechanisms' shows them")
    if as_json:
        print_json(as_plain(found))
    else:
        show(found)
    if found.verdict == "unusable":
        raise typer.Exit(1)


def as_plain(found: PrivacyPlan) -> dict[str, Any]:
    """Turn a plan into plain values for JSON; an infinite epsilon is null."""
    from dataclasses import asdict

    epsilons = {str(round): value if math.isfinite(value) else None for round, value in found.epsilons.items()}
    return {**asdict(found), "epsilons": epsilons, "verdict": found.verdict}


def show(found: PrivacyPlan) -> None:
    """Print a plan."""
    guarantee = found.guarantee
    print(f"unit {guarantee.unit}; adversary: {guarantee.adversary}")
    print(f"neighbours: {guarantee.neighbours}")
    if guarantee.label:
        print(guarantee.label)
    print(f"noise multiplier {found.noise:.4g}, sampling rate {found.rate:.4g}, delta {guarantee.delta:g}")
    for round, epsilon in found.epsilons.items():
        print(f"  after round {round:>5}: epsilon {epsilon:.3f}")
    if guarantee.delta * found.units > 1:
        print(f"delta is more than one over {found.units:,} units: the guarantee may hold and somebody be exposed")
    print(
        f"the noise on a step is {found.loudness:.3g} times the clip norm "
        f"({found.parameters:,} numbers, {found.cohort:,} clients): {found.verdict}"
    )
    for line in found.advice:
        print(f"  {line}")


@app.command("audit")
def audit(
    folder: Annotated[Path, typer.Argument(help="Folder of a run that has ended.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="One attack: membership, one-run, canary-clients, embedding-inversion, "
                     "update-inversion or attribute; may be given again. By default all that can be made."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """Attack a run: membership with its controls, canaries, inversion, attributes; each figure with its interval.

    Needs images that were set aside: run the experiment with audit_share above 0. Exit code 1 where an attack rules out
    what the run claims.
    """
    use_data(data)
    import sys

    from fedmetric.simulations.audits.audit import AUDIT, audit_run

    found = audit_run(folder, only or (), lambda name: print(f"{name} ...", file=sys.stderr, flush=True))
    if as_json:
        print_json([finding.to_plain() for finding in found])
        return
    from fedmetric.report.audit import audit_table

    console().print(audit_table([finding.to_plain() for finding in found]))
    print(f"written to {folder / AUDIT}")
