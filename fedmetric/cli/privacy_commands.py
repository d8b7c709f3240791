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
        print(wrapped(f"  {key}: {spent[key]}"))
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
    print(wrapped(f"unit {guarantee.unit}; adversary: {guarantee.adversary}"))
    print(wrapped(f"neighbours: {guarantee.neighbours}"))
    if guarantee.label:
        print(guarantee.label)
    print(f"noise multiplier {found.noise:.4g}, sampling rate {found.rate:.4g}, delta {guarantee.delta:g}")
    for round, epsilon in found.epsilons.items():
        print(f"  after round {round:>5}: epsilon {epsilon:.3f}")
    if guarantee.delta * found.units > 1:
        print(wrapped(f"delta is more than one over {found.units:,} units: the guarantee may hold and one be exposed"))
    print(
        wrapped(
            f"the noise on a step is {found.loudness:.3g} times the clip norm "
            f"({found.parameters:,} numbers, {found.cohort:,} clients): {found.verdict}"
        )
    )
    for line in found.advice:
        print(wrapped(f"  {line}"))


def wrapped(line: str) -> str:
    """Break a line to fit a terminal of 80 columns."""
    import textwrap

    return textwrap.fill(line, 79, subsequent_indent="    ")


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
    from fedmetric.report.audit import audit_notes, audit_table

    plain = [finding.to_plain() for finding in found]
    console().print(audit_table(plain))
    for note in audit_notes(plain):
        print(wrapped(note))
    print(f"written to {folder / AUDIT}")


@app.command("study")
def study(
    experiment: ExperimentArgument,
    overrides: SetOption = None,
    noise: Annotated[
        list[float] | None, typer.Option("--noise", help="A noise multiplier for clients; may be given again.")
    ] = None,
    clip: Annotated[float, typer.Option("--clip", min=0.0, help="Clip norm of a client's move.")] = 1.0,
    record_noise: Annotated[
        float, typer.Option("--record-noise", min=0.0, help="Noise multiplier for records; 0 leaves them out.")
    ] = 1.0,
    record_clip: Annotated[float, typer.Option("--record-clip", min=0.0, help="Clip norm of a gradient.")] = 1.0,
    secure: Annotated[bool, typer.Option("--secure/--no-secure", help="With secure aggregation as a setting.")] = True,
    delta: Annotated[float, typer.Option("--delta", help="Probability of failure of every claim.")] = 1e-5,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Seeds 1 to this for each setting.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="Folder; by default runs/NAME-privacy.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Runs at a time.")] = None,
    only_table: Annotated[bool, typer.Option("--table", help="Run nothing; show what is done.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw the frontier: what is learnt, claimed and found by attacks without privacy and under each mechanism.

    Give it again to go on; writes frontier.json, frontier.md and frontier.png.
    """
    import os
    import sys

    use_data(data)
    from fedmetric.cli.interruption import signals_end_the_run
    from fedmetric.report.frontier import draw_frontier, frontier_table
    from fedmetric.simulations.engines.processes import default_workers
    from fedmetric.simulations.study import Settings, run_study, study_of

    settings = Settings(clip, tuple(noise or (0.5, 1.0)), record_noise, record_clip, secure, delta, seeds)
    sweep = study_of(experiment, overrides or (), settings)
    name = Path(experiment).stem
    folder = out or Path("runs") / f"{name}-privacy"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with signals_end_the_run():
        rows = run_study(
            sweep, folder, jobs or default_workers(), lambda line: print(line, file=sys.stderr, flush=True), only_table
        )
    table = frontier_table(rows)
    (folder / "frontier.md").write_text(table, encoding="utf-8")
    if any(row["runs"] for row in rows):
        draw_frontier(rows, folder / "frontier.png", f"{name}: privacy and what it costs")
    if as_json:
        print_json(rows)
    else:
        print(table, end="")
