"""`fedmetric serve`: run an experiment with the sites of a deployment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fedmetric.cli.arguments import DataOption, JsonOption, OutOption, SetOption, use_data
from fedmetric.cli.deploy_commands import DEPLOYMENT, DeploymentOption
from fedmetric.errors import UsageError

if TYPE_CHECKING:
    from fedmetric.deployment.office import Office
    from fedmetric.runs import RunFolder


def serve(
    experiment: Annotated[str | None, typer.Argument(help="A TOML file, or the name of a preset.")] = None,
    deployment: DeploymentOption = DEPLOYMENT,
    resume: Annotated[Path | None, typer.Option("--resume", help="Go on with a run in place of a new one.")] = None,
    overrides: SetOption = None,
    out: OutOption = None,
    data: DataOption = None,
    bind: Annotated[
        str | None,
        typer.Option(
            "--bind",
            help="Address to listen at; by default every one, or this machine's own if that is "
            "all that the certificate is for.",
        ),
    ] = None,
    quorum: Annotated[
        int | None, typer.Option("--quorum", min=1, help="Sites that must be connected for a round; by default all.")
    ] = None,
    patience: Annotated[
        float, typer.Option("--round-timeout", min=1, help="Seconds after which a round goes on without a site.")
    ] = 3600.0,
    gathering: Annotated[
        float, typer.Option("--wait", min=1, help="Seconds to wait for the quorum before the run ends.")
    ] = 3600.0,
    as_json: JsonOption = False,
) -> None:
    """Serve a run: wait for the sites, train, evaluate on this machine's classes, keep everything in a run folder."""
    from fedmetric.cli.run_commands import follow_run, next_free
    from fedmetric.deployment.office import open_office

    if (experiment is None) == (resume is None):
        raise UsageError("give an experiment to begin, or --resume RUN to go on; one of the two")
    use_data(data)
    office = open_office(deployment)
    if resume is not None:
        folder = _resumed(resume)
    else:
        from fedmetric.config import load_experiment

        checked = load_experiment(str(experiment), overrides or ())
        folder = _begun(office, checked, out or next_free(Path("runs") / checked.name), quorum, patience, gathering)

    def launch(listen: Any) -> dict[str, Any]:
        from fedmetric.server.hosting import host_run

        return host_run(office, folder, listen, bind or _bind(office), office.port)

    follow_run(launch, folder.path, as_json)


def _begun(office: Office, experiment: Any, path: Path, quorum: int | None, patience: float, wait: float) -> RunFolder:
    from fedmetric.runs import RunFolder
    from fedmetric.server.deployed import Terms
    from fedmetric.training.start import with_the_hash_of_its_start

    sites = tuple(member.site for member in office.roster.members() if member.status != "revoked")
    if not sites:
        raise UsageError(f"{office.folder} has no sites; invite some with 'fedmetric deploy invite'")
    if quorum is not None and quorum > len(sites):
        raise UsageError(f"--quorum {quorum}, but there are {len(sites)} sites: {', '.join(sites)}")
    folder = RunFolder.create(path, with_the_hash_of_its_start(experiment))
    Terms(sites, quorum or len(sites), patience, wait).write(folder.path)
    return folder


def _resumed(path: Path) -> RunFolder:
    from fedmetric.runs import RunFolder
    from fedmetric.server.deployed import read_terms
    from fedmetric.server.supervise import go_on

    read_terms(RunFolder.open(path).path)
    return go_on(path).folder


def _bind(office: Office) -> str:
    from fedmetric.deployment.certificates import LOOPBACK

    return "127.0.0.1" if set(office.hosts) <= set(LOOPBACK) else "0.0.0.0"
