"""What a site is given to join: where the server is, which authority to trust, and a token that is good once.

The text holds a secret until it is used: send it over a channel that you trust, and compare the authority's
fingerprint over another one.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from fedmetric.deployment.certificates import fingerprint, read_certificate
from fedmetric.errors import UsageError

PREFIX = "fedmetric-invite-1."
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
MAX_TEXT = 16_384
DAMAGED = "the invite is damaged; ask for it again, or check that it was copied as a whole"


@dataclass(frozen=True)
class Invite:
    """One site's invite.

    Attributes:
        federation: name of the deployment.
        site: the name by which the server knows the site.
        host: name or IP address of the server.
        port: of the server.
        authority: PEM certificate of the only authority that the site is to trust.
        token: secret, good for one enrolment.
    """

    federation: str
    site: str
    host: str
    port: int
    authority: str
    token: str

    @property
    def address(self) -> str:
        """Host and port, as in a URL."""
        return address_of(self.host, self.port)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the authority's certificate, 64 hex digits."""
        return fingerprint(self.authority.encode())

    def to_text(self) -> str:
        """Write the invite as one line without spaces."""
        return PREFIX + base64.urlsafe_b64encode(json.dumps(asdict(self)).encode()).decode().rstrip("=")


def read_invite(source: str) -> Invite:
    """Read an invite, or a file that holds one.

    Raises:
        UsageError: it is none; the text itself is never repeated.
    """
    text = source.strip()
    if not text.startswith(PREFIX):
        try:
            text = Path(text).read_text(encoding="utf-8", errors="replace").strip()
        except (OSError, ValueError):  # the system's own error would show the text, which may hold the token
            raise UsageError("this is neither an invite (fedmetric-invite-1....) nor a file that holds one") from None
    if not text.startswith(PREFIX) or len(text) > MAX_TEXT:
        raise UsageError(f"the file holds no invite of this version ({PREFIX}...)")
    try:
        body = text.removeprefix(PREFIX)
        fields = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        invite = Invite(**{name: kind(fields[name]) for name, kind in FIELDS.items()})
        authority = invite.authority.encode()
    except (binascii.Error, ValueError, KeyError, TypeError, OverflowError) as error:
        raise UsageError(DAMAGED) from error
    if not 0 < invite.port < 65536:
        raise UsageError(DAMAGED)
    for name in (invite.federation, invite.site):
        check_name(name)
    read_certificate(authority)
    return invite


FIELDS = {"federation": str, "site": str, "host": str, "port": int, "authority": str, "token": str}


def check_name(name: str) -> str:
    """Return the name of a federation or a site.

    Raises:
        UsageError: it cannot be part of a path.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"'{name}' cannot be a name; use letters, digits, '.', '_' and '-', at most 63")
    return name


def address_of(host: str, port: int) -> str:
    """Return host and port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
