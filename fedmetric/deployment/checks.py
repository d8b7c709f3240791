"""What can be checked of a deployment before it is used: each check is a line of 'fedmetric doctor'."""

from __future__ import annotations

import shutil
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedmetric.deployment.certificates import is_issued_by, read_certificate
from fedmetric.deployment.home import Home
from fedmetric.deployment.office import Office
from fedmetric.deployment.ports import check_free
from fedmetric.deployment.private_files import is_private
from fedmetric.errors import UsageError

SOON_DAYS = 30
LOW_DISK = 2 * 10**9
SECONDS = 10.0


@dataclass(frozen=True)
class Finding:
    """One line: "ok", "note" for what may be meant so, or "bad" for what will not work; of what, and the facts."""

    status: str
    what: str
    detail: str


def check_office(office: Office, bind: str | None = None) -> list[Finding]:
    """Check the server's side: certificate, keys, sites, disk, port."""
    found = [_certificate(office), _secrets([office.key, office.control_secret])]
    if office.authority_key.exists():
        found.append(Finding("note", "authority.key", "is here; only renewing needs it, so keep it somewhere else"))
    members = office.roster.members()
    count = {status: sum(member.status == status for member in members) for status in ("enrolled", "invited")}
    found.append(
        Finding("ok" if members else "note", "sites", f"{count['enrolled']} enrolled, {count['invited']} invited")
    )
    return [*found, _disk(office.folder), _port(bind or "127.0.0.1", office.port)]


def check_home(home: Home, known: Callable[[Home], object]) -> list[Finding]:
    """Check a site's side: key, images, disk, the way to the server, its certificate, clock, and that it knows us.

    Args:
        home: the site.
        known: asks the server whether it knows the site; raises otherwise.
    """
    found = [_secrets([home.key]), _disk(home.folder)]
    found.append(
        Finding("ok", "images", str(home.data))
        if home.data.is_dir()
        else Finding("bad", "images", f"{home.data} is no folder")
    )
    try:
        numbers = sorted({item[4][0] for item in socket.getaddrinfo(home.host, home.port)})
        found.append(Finding("ok", "name", f"{home.host} is {', '.join(map(str, numbers))}"))
    except OSError as error:
        return [*found, Finding("bad", "name", f"{home.host} cannot be looked up: {error}")]
    reached = _tls(home)
    found.append(reached)
    if reached.status == "bad":
        return found
    try:
        known(home)
        found.append(Finding("ok", "registered", f"the server knows site '{home.site}'"))
    except Exception as error:
        found.append(Finding("bad", "registered", str(error)))
    return found


def hosts_contacted(home: Home) -> list[str]:
    """List every host that a site contacts."""
    return [f"{home.address} (the server, TLS, one port, from here outwards only)"]


def _certificate(office: Office) -> Finding:
    facts = read_certificate(office.certificate.read_bytes())
    if not is_issued_by(office.certificate.read_bytes(), office.authority.read_bytes()):
        return Finding("bad", "certificate", "was not issued by this deployment's authority")
    if missing := [host for host in office.hosts if host not in facts.hosts]:
        return Finding("bad", "certificate", f"is not for {', '.join(missing)}; run 'fedmetric deploy renew'")
    days = facts.days_left()
    if days < 0:
        return Finding("bad", "certificate", f"has expired on {facts.ends:%Y-%m-%d}; run 'fedmetric deploy renew'")
    status = "note" if days < SOON_DAYS else "ok"
    return Finding(status, "certificate", f"for {', '.join(facts.hosts)}, {days:.0f} days left")


def _secrets(paths: list[Path]) -> Finding:
    if missing := [path.name for path in paths if not path.exists()]:
        return Finding("bad", "keys", f"missing: {', '.join(missing)}")
    if open_to_all := [path.name for path in paths if not is_private(path)]:
        return Finding("bad", "keys", f"others may read {', '.join(open_to_all)}; chmod 600")
    return Finding("ok", "keys", ", ".join(path.name for path in paths))


def _disk(place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    return Finding("ok" if free > LOW_DISK else "note", "disk", f"{free / 1e9:.1f} GB free at {place}")


def _port(bind: str, port: int) -> Finding:
    try:
        check_free(bind, port)
    except UsageError as error:
        return Finding("note", "port", str(error))
    return Finding("ok", "port", f"{port} is free")


def _tls(home: Home) -> Finding:
    context = ssl.create_default_context(cafile=str(home.authority))
    began = time.monotonic()
    try:
        with (
            socket.create_connection((home.host, home.port), SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=home.host) as link,
        ):
            expiry = dict(link.getpeercert() or {}).get("notAfter", "")
    except ssl.SSLCertVerificationError as error:
        clock = "; is this machine's clock right?" if "not yet valid" in str(error) or "expired" in str(error) else ""
        return Finding("bad", "server", f"{home.address} is not to be trusted: {error.verify_message}{clock}")
    except OSError as error:
        return Finding("bad", "server", f"{home.address} cannot be reached: {error}")
    took = time.monotonic() - began
    return Finding("ok", "server", f"{home.address}, TLS, certificate until {expiry}, {1000 * took:.0f} ms")
