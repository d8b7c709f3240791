"""`fedmetric demo | run | resume | eval`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fedmetric.cli.arguments import (
    DataOption,
    DownloadOption,
    EngineOption,
    ExperimentArgument,
    FailOnOption,
    JsonOption,
    OutOption,
    SetOption,
    TargetOption,
    WorkersOption,
    check_picture,
    print_json,
    use_data,
    with_target,
)
from fedmetric.cli.interruption import signals_end_the_run
from fedmetric.cli.screen import console

DEMO = "glyphs"


def run(
    experiment: ExperimentArgument,
    overrides: SetOption = None,
    out: OutOption = None,
    data: DataOption = None,
    engine: EngineOption = "local",
    workers: WorkersOption = None,
    baseline: Annotated[
        Literal["central", "local", "random"] | None,
        typer.Option(
            "--baseline",
            help="Run what to compare with: all images at one place, every client alone (mean over clients), or no "
            "training; with as many passes over the images.",
        ),
    ] = None,
    fail_on: FailOnOption = None,
    target_epsilon: TargetOption = None,
    allow_download: DownloadOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run an experiment: train the federation, evaluate on unseen classes, keep everything in a run folder."""
    from fedmetric.config import load_experiment

    checked = load_experiment(experiment, with_target(overrides, target_epsilon))
    use_data(data, allow_download)
    if baseline:
        from fedmetric.simulations.baselines import baseline_of

        checked = baseline_of(checked, baseline)
    folder = out or next_free(Path("runs") / checked.name)

    def launch(listen: Callable[[Any], None]) -> dict[str, Any]:
        from fedmetric.simulations.launch import start_run

        return start_run(checked, folder, listen, engine, workers, fail_on)

    follow_run(launch, folder, as_json)


def demo(out: OutOption = None, workers: WorkersOption = None, as_json: JsonOption = False) -> None:
    """Run the main job on the embedded data set: characters drawn from fonts, evaluated on unseen letters."""
    run(DEMO, out=out or next_free(Path("runs") / "demo"), workers=workers, as_json=as_json)


def resume(
    folder: Annotated[Path, typer.Argument(help="Folder of a run that was interrupted or has failed.")],
    data: DataOption = None,
    engine: EngineOption = "local",
    workers: WorkersOption = None,
    fail_on: FailOnOption = None,
    as_json: JsonOption = False,
) -> None:
    """Continue a run from its last checkpoint; the final weights are those of an uninterrupted run."""
    use_data(data)

    def launch(listen: Callable[[Any], None]) -> dict[str, Any]:
        from fedmetric.simulations.launch import resume_run

        return resume_run(folder, listen, engine, workers, fail_on)

    follow_run(launch, folder, as_json)


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, or of an exported model.")],
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on", help="Experiment whose held-out classes to use; by default the model's own. May be given again."
        ),
    ] = None,
    overrides: SetOption = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", help="Draw unseen images beside their nearest neighbours (PNG).")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", help="Also measure each class ('class') or group, such as 'alphabet'; all with --json."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a trained model on classes it was not trained on, beside raw pixels and an untrained network."""
    use_data(data)
    check_picture(picture)
    from fedmetric.cli.evaluate import evaluate_model

    found = evaluate_model(folder, on or [], overrides or [], picture, by)
    titles = {name: result.pop("title") for name, result in found.items()}
    if as_json:
        print_json(found if len(found) > 1 else next(iter(found.values())))
        return
    for name, result in found.items():
        _show(result, titles[name], as_json)
        if by is not None:
            from fedmetric.report.groups import group_table

            console().print(group_table(result["groups"], by))


def next_free(path: Path) -> Path:
    """Return the path, or the first of path-2, path-3, ... that does not exist."""
    candidate, number = path, 2
    while candidate.exists():
        candidate, number = path.with_name(f"{path.name}-{number}"), number + 1
    return candidate


def follow_run(launch: Callable[[Callable[[Any], None]], dict[str, Any]], folder: Path, as_json: bool) -> None:
    """Show a run while it runs, and its result; signals end it between two steps."""
    from fedmetric.cli.progress import Progress

    with signals_end_the_run() as interruption, Progress() as progress:
        summary = launch(interruption.after_rounds(progress))
    _show(summary, f"{folder}: {summary['rounds']} rounds, {summary['seconds']:.0f} s", as_json)


def _show(summary: dict[str, Any], title: str, as_json: bool) -> None:
    if as_json:
        print_json(summary)
        return
    from fedmetric.report.tables import score_table, title_of, wins

    screen = console()
    screen.print(score_table(summary["evaluation"], title))
    won = ", ".join(title_of(name) for name in wins(summary["evaluation"]))
    single = summary.get("clients") or {}
    if values := [scores["recall@1"] for scores in single.values() if scores.get("recall@1") is not None]:
        screen.print(
            f"trained is the mean of {len(values)} clients, each alone: Recall@1 from {100 * min(values):.1f} to "
            f"{100 * max(values):.1f}"
        )
    screen.print(f"trained beats both baselines by more than its interval on: {won or 'nothing'}")
    if statement := summary.get("privacy"):
        from fedmetric.privacy.statement import sentence_of

        screen.print(sentence_of(statement), soft_wrap=True)
    if digest := summary.get("weights_sha256"):
        screen.print(f"weights sha256 {digest}", soft_wrap=True)
