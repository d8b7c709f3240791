"""A site's own folder: whom it trusts, its key, where its images lie, and what a server may ask of it."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from fedmetric.deployment.certificates import new_node_key, public_key_of
from fedmetric.deployment.invite import Invite, address_of
from fedmetric.deployment.private_files import write_private
from fedmetric.deployment.roster import hash_of
from fedmetric.errors import UsageError

SETTINGS = "site.toml"


@dataclass(frozen=True)
class Home:
    """A site as it keeps itself.

    Attributes:
        folder: where everything lies.
        federation: name of the deployment.
        site: the name by which the server knows the site.
        host: of the server.
        port: of the server.
        data: folder of the site's images.
        limits: the table [limits], not yet checked; see `fedmetric.clients.limits`.
    """

    folder: Path
    federation: str
    site: str
    host: str
    port: int
    data: Path
    limits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Host and port of the server."""
        return address_of(self.host, self.port)

    @property
    def authority(self) -> Path:
        """The certificate of the only authority that is trusted."""
        return self.folder / "authority.pem"

    @property
    def key(self) -> Path:
        """The site's private key, made here; it never leaves."""
        return self.folder / "node.key"

    @property
    def memory(self) -> Path:
        """What the site keeps between rounds."""
        return self.folder / "memory"

    @property
    def manifest(self) -> Path:
        """What has left, one line of JSON for each round: names, shapes, bytes and norms of every tensor."""
        return self.folder / "manifest.jsonl"

    @property
    def log(self) -> Path:
        """What happened here, in words; may name classes and files, so it stays."""
        return self.folder / "site.log"

    @property
    def enrolled(self) -> bool:
        """Whether the server has taken the key."""
        return (self.folder / "enrolled").exists()

    def mark_enrolled(self, token: str) -> None:
        """Note that the server has taken the key, and by the hash of its token for which invite."""
        (self.folder / "enrolled").write_text(hash_of(token))

    def forget_key(self) -> None:
        """Drop a key that the server takes no more, so that another is made."""
        self.key.unlink(missing_ok=True)
        (self.folder / "enrolled").unlink(missing_ok=True)

    def public_key(self) -> str:
        """Return the public key as PEM."""
        return public_key_of(self.key.read_bytes()).decode()

    def write(self) -> None:
        """Write the settings."""
        settings = {
            "federation": self.federation,
            "site": self.site,
            "host": self.host,
            "port": self.port,
            "data": str(self.data),
            "limits": dict(self.limits),
        }
        write_private(self.folder / SETTINGS, tomli_w.dumps(settings).encode())

    def remove(self) -> bool:
        """Remove what the site keeps, and the folder unless other files lie in it; return whether it is gone."""
        own = [self.folder / name for name in (SETTINGS, "enrolled", "flower")]
        for path in (*own, self.authority, self.key, self.memory, self.log, self.manifest):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if any(self.folder.iterdir()):
            return False
        self.folder.rmdir()
        return True


def default_home(federation: str, site: str) -> Path:
    """Return where a site lives unless told otherwise: under XDG_STATE_HOME, or ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "fedmetric" / federation / site


def open_home(folder: Path) -> Home:
    """Read a site's folder.

    Raises:
        UsageError: it is none, or its settings are damaged.
    """
    place = folder / SETTINGS
    if not place.is_file():
        raise UsageError(f"{folder} is no site; join a federation with 'fedmetric join INVITE --data DIR'")
    try:
        given = tomllib.loads(place.read_text(encoding="utf-8"))
        return Home(
            folder.absolute(), given["federation"], given["site"], given["host"], int(given["port"]),
            Path(given["data"]), dict(given.get("limits", {})),
        )  # fmt: skip
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{place}: {error!r} is wrong or missing") from error


def settle(folder: Path, invite: Invite, data: Path) -> Home:
    """Make a site's folder, or go on with the one that is there: its key and its limits stay.

    A site that has enrolled is invited anew only after its key was withdrawn; then it gets another one.

    Raises:
        UsageError: the folder belongs to another site, or trusts another authority.
    """
    if (folder / SETTINGS).exists():
        known = open_home(folder)
        if (known.federation, known.site) != (invite.federation, invite.site):
            raise UsageError(f"{folder} is site '{known.site}' of '{known.federation}'; choose another --home")
        if known.authority.read_text() != invite.authority:
            raise UsageError(
                f"{folder} trusts another authority than this invite names; if the server was set up anew, run "
                "'fedmetric leave' first"
            )
        limits = known.limits
        if known.enrolled and (known.folder / "enrolled").read_text() != hash_of(invite.token):
            known.forget_key()
    else:
        limits = {}
    home = Home(folder.absolute(), invite.federation, invite.site, invite.host, invite.port, data.absolute(), limits)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    home.authority.write_text(invite.authority)
    if not home.key.exists():
        write_private(home.key, new_node_key())
    home.write()
    return home
