"""`fedmetric deploy`: set up the server's side of a deployment, and say who may join it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from fedmetric.cli.arguments import JsonOption, print_json
from fedmetric.deployment.ports import DEFAULT_PORT

app = typer.Typer(no_args_is_help=True, help="Set up a server for sites on other machines: certificates and invites.")

DeploymentOption = Annotated[
    Path, typer.Option("--deployment", "-d", help="Folder of the deployment: keys, certificates and the list of sites.")
]
DEPLOYMENT = Path("deployment")


@app.command("init")
def init(
    host: Annotated[
        list[str],
        typer.Option("--host", help="Name or address by which sites reach this machine; may be given again."),
    ],
    sites: Annotated[list[str] | None, typer.Argument(help="Names of sites to invite at once.")] = None,
    deployment: DeploymentOption = DEPLOYMENT,
    name: Annotated[str, typer.Option("--name", help="Name of the federation.")] = "federation",
    port: Annotated[int, typer.Option("--port", help="The only port that sites need to reach.")] = DEFAULT_PORT,
    out: Annotated[Path | None, typer.Option("--invites", help="Folder for the invites; by default inside.")] = None,
) -> None:
    """Make an authority, the server's certificate and one invite for each site."""
    from fedmetric.deployment.certificates import fingerprint
    from fedmetric.deployment.invite import check_name
    from fedmetric.deployment.office import found_office

    for site in sites or []:
        check_name(site)
    office = found_office(deployment, name, host, port)
    print(f"{office.folder}: server {host[0]} port {port}, certificate for {', '.join(host)}")
    print(f"authority fingerprint (SHA-256) {fingerprint(office.authority.read_bytes())}")
    print(f"keep {office.authority_key} somewhere else: only renewing the certificate needs it")
    _invite(deployment, sites or [], out)


@app.command("invite")
def invite(
    sites: Annotated[list[str], typer.Argument(help="Names of the sites.")],
    deployment: DeploymentOption = DEPLOYMENT,
    out: Annotated[Path | None, typer.Option("--invites", help="Folder for the invites; by default inside.")] = None,
) -> None:
    """Invite sites, or give those that have not joined a new token."""
    _invite(deployment, sites, out)


def _invite(deployment: Path, sites: list[str], out: Path | None) -> None:
    from fedmetric.deployment.office import open_office
    from fedmetric.deployment.private_files import write_private

    office = open_office(deployment)
    folder = out or office.folder / "invites"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for site in sites:
        found = office.invite(site)
        write_private(folder / f"{site}.invite", (found.to_text() + "\n").encode())
        print(f"{folder / f'{site}.invite'}: good once, for 14 days; send it over a channel that you trust")


@app.command("revoke")
def revoke(
    sites: Annotated[list[str], typer.Argument(help="Names of the sites.")], deployment: DeploymentOption = DEPLOYMENT
) -> None:
    """Withdraw the keys and invites of sites; a server that runs lets them in no more after a second."""
    from fedmetric.deployment.office import open_office

    roster = open_office(deployment).roster
    for site in sites:
        roster.revoke(site)
        print(f"{site}: revoked")


@app.command("enrol")
def enrol(
    site: Annotated[str, typer.Argument(help="Name of the site.")],
    request: Annotated[Path, typer.Argument(help="The file that 'fedmetric join --offline' wrote at the site.")],
    deployment: DeploymentOption = DEPLOYMENT,
) -> None:
    """Take a site's key from a file, where the site cannot reach the server to enrol by itself."""
    import base64
    import json

    from fedmetric.deployment.office import open_office
    from fedmetric.errors import UsageError

    try:
        asked = json.loads(request.read_text(encoding="utf-8"))
        token, key, signature = (str(asked[name]) for name in ("token", "public_key", "signature"))
        open_office(deployment).roster.enrol(site, token, key, base64.b64decode(signature))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{request} is not what 'fedmetric join --offline' writes: {error!r}") from error
    print(f"{site}: enrolled")


@app.command("renew")
def renew(deployment: DeploymentOption = DEPLOYMENT) -> None:
    """Make a new server certificate under the same authority; sites notice nothing."""
    from fedmetric.deployment.certificates import read_certificate
    from fedmetric.deployment.office import open_office

    office = open_office(deployment)
    office.renew()
    print(f"{office.certificate}: valid until {read_certificate(office.certificate.read_bytes()).ends:%Y-%m-%d}")


@app.command("template")
def template(
    kind: Annotated[Literal["systemd-server", "systemd-site", "compose"], typer.Argument(help="Which file.")],
    deployment: DeploymentOption = DEPLOYMENT,
    home: Annotated[Path, typer.Option("--home", help="Folder of the site.")] = Path("site"),
) -> None:
    """Print a file with which a server or a site is started by others; read it before you use it."""
    from fedmetric import __version__
    from fedmetric.deployment.home import open_home
    from fedmetric.deployment.templates import TEMPLATES

    site = open_home(home) if (home / "site.toml").is_file() else None
    folder = deployment if kind == "systemd-server" else home
    command = Path(sys.executable).parent / "fedmetric"
    known = {
        "folder": str(folder.absolute()),
        "command": str(command),
        "version": __version__,
        "host": site.host if site else "server.example.org",
        "data": str(site.data) if site else "/images",
    }
    print(TEMPLATES[kind].substitute(known), end="")


@app.command("sites")
def sites(deployment: DeploymentOption = DEPLOYMENT, as_json: JsonOption = False) -> None:
    """List the sites and how far they are."""
    from fedmetric.deployment.office import open_office

    members = open_office(deployment).roster.members()
    if as_json:
        print_json([{"site": member.site, "status": member.status} for member in members])
        return
    for member in members:
        print(f"{member.site:<24}{member.status}")
