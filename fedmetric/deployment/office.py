"""The server's folder of a deployment: its authority, its certificate, the roster and what Flower's server keeps."""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from fedmetric.deployment.certificates import Pair, alternative_names, new_authority, new_server
from fedmetric.deployment.invite import Invite, check_name
from fedmetric.deployment.ports import DEFAULT_PORT
from fedmetric.deployment.private_files import write_private
from fedmetric.deployment.roster import Roster
from fedmetric.errors import UsageError

SETTINGS = "deployment.toml"


@dataclass(frozen=True)
class Office:
    """A deployment as its server keeps it.

    Attributes:
        folder: where everything lies.
        federation: its name.
        hosts: names and addresses in the server's certificate; sites are sent to the first.
        port: of the server.
    """

    folder: Path
    federation: str
    hosts: tuple[str, ...]
    port: int

    @property
    def authority(self) -> Path:
        """The authority's certificate; may be given to anybody."""
        return self.folder / "authority.pem"

    @property
    def authority_key(self) -> Path:
        """The authority's key; needed to renew the server's certificate only, and best kept off the server."""
        return self.folder / "authority.key"

    @property
    def certificate(self) -> Path:
        """The server's certificate."""
        return self.folder / "server.pem"

    @property
    def key(self) -> Path:
        """The server's key."""
        return self.folder / "server.key"

    @property
    def control_secret(self) -> Path:
        """What must be known to start a run on the server."""
        return self.folder / "control.secret"

    @property
    def database(self) -> Path:
        """Flower's own state."""
        return self.folder / "superlink.db"

    @property
    def nodes(self) -> Path:
        """The numbers that Flower gave the sites, by name: JSON, written by the running server."""
        return self.folder / "nodes.json"

    @property
    def roster(self) -> Roster:
        """The sites."""
        return Roster(self.folder / "sites.json")

    def invite(self, site: str) -> Invite:
        """Invite a site, or invite it again; see `Roster.invite`."""
        token = self.roster.invite(site)
        return Invite(self.federation, site, self.hosts[0], self.port, self.authority.read_text(), token)

    def renew(self) -> None:
        """Make a new server certificate under the same authority; sites notice nothing.

        Raises:
            UsageError: the authority's key is not here.
        """
        if not self.authority_key.exists():
            raise UsageError(f"{self.authority_key} is not here; bring it back to renew the certificate")
        _write_server(self, Pair(self.authority.read_bytes(), self.authority_key.read_bytes()))


def open_office(folder: Path) -> Office:
    """Read a deployment's folder.

    Raises:
        UsageError: it is none.
    """
    place = folder / SETTINGS
    if not place.is_file():
        raise UsageError(f"{folder} is no deployment; make one with 'fedmetric deploy init'")
    try:
        settings = tomllib.loads(place.read_text(encoding="utf-8"))
        hosts = tuple(map(str, settings["hosts"]))
        return Office(folder.absolute(), str(settings["federation"]), hosts, int(settings["port"]))
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{place}: {error!r} is wrong or missing") from error


def found_office(folder: Path, federation: str, hosts: Sequence[str], port: int = DEFAULT_PORT) -> Office:
    """Make a deployment: authority, server certificate, control secret, and an empty roster.

    Raises:
        UsageError: the folder holds one already, or a name cannot be used.
    """
    check_name(federation)
    if (folder / SETTINGS).exists():
        raise UsageError(f"{folder} is a deployment already; 'fedmetric deploy invite' adds sites to it")
    if not 0 < port < 65536:
        raise UsageError(f"port {port} is not between 1 and 65535")
    office = Office(folder.absolute(), federation, tuple(hosts), port)
    alternative_names(hosts)  # refused before anything is written
    authority = new_authority(federation)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    office.authority.write_bytes(authority.certificate)
    write_private(office.authority_key, authority.key)
    _write_server(office, authority)
    write_private(office.control_secret, secrets.token_urlsafe(32).encode())
    settings = {"federation": federation, "hosts": list(hosts), "port": port}
    (folder / SETTINGS).write_text(tomli_w.dumps(settings), encoding="utf-8")
    return office


def _write_server(office: Office, authority: Pair) -> None:
    server = new_server(authority, office.hosts)
    office.certificate.write_bytes(server.certificate)
    write_private(office.key, server.key)
