"""Which sites a server knows: invited, enrolled with a public key, revoked; one JSON file with the order of the sites.

The order is the order of the clients. A site that is revoked keeps its place in the file, so that nobody else takes
its number in a run that is going on. Of a token only the SHA-256 is kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from fedmetric.deployment.certificates import is_signed
from fedmetric.deployment.invite import check_name
from fedmetric.deployment.private_files import write_private
from fedmetric.errors import FedmetricError, UsageError

INVITE_SECONDS = 14 * 24 * 3600
Status = Literal["invited", "enrolled", "revoked"]


class RefusedError(FedmetricError):
    """Report an enrolment that the roster does not allow."""


@dataclass(frozen=True)
class Member:
    """One site as the server knows it.

    Attributes:
        site: its name.
        status: "invited", "enrolled" or "revoked".
        token_sha256: of its invite's token; empty when there is none.
        expires: until when the token is good, seconds since 1970.
        public_key: PEM, of an enrolled site.
    """

    site: str
    status: Status = "invited"
    token_sha256: str = ""
    expires: float = 0.0
    public_key: str = ""


class Roster:
    """The file of the sites; every change is made under a lock, so that several processes may make them."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def members(self) -> list[Member]:
        """Return every site in order, revoked ones too; none before the first invite.

        Raises:
            FedmetricError: the file is damaged.
        """
        if not self.path.exists():
            return []
        try:
            return [Member(**entry) for entry in json.loads(self.path.read_text(encoding="utf-8"))]
        except (OSError, ValueError, TypeError) as error:
            raise FedmetricError(f"{self.path}: not a roster: {error}") from error

    def invite(self, site: str, seconds: float = INVITE_SECONDS) -> str:
        """Add a site, or give a known one a new token in place of its old one, and return the token.

        Raises:
            UsageError: the site has enrolled already.
        """
        check_name(site)
        token = secrets.token_urlsafe(32)
        with self._changed() as members:
            known = next((place for place, member in enumerate(members) if member.site == site), None)
            if known is not None and members[known].status == "enrolled":
                raise UsageError(f"site '{site}' has joined already; revoke it first, then invite it again")
            invited = Member(site, "invited", hash_of(token), time.time() + seconds)
            if known is None:
                members.append(invited)
            else:
                members[known] = invited
        return token

    def enrol(self, site: str, token: str, public_key: str, signature: bytes) -> Member:
        """Accept a site's public key for its token.

        The same site with the same key is accepted again, so that a client whose answer was lost can repeat itself.

        Args:
            site: its name.
            token: of its invite.
            public_key: PEM, EC P-384.
            signature: of `claim_of(site, token)`, which proves that the site holds the private key.

        Raises:
            RefusedError: unknown or revoked site, wrong, used or expired token, or a key that is not the site's. The
                message tells nothing that the caller did not say itself.
        """
        if not is_signed(public_key.encode(), claim_of(site, token), signature):
            raise RefusedError("the key is no EC P-384 key, or the request was not signed with it")
        with self._changed() as members:
            place = next((place for place, member in enumerate(members) if member.site == site), None)
            member = members[place] if place is not None else Member(site, "revoked")
            known = member.token_sha256 and hmac.compare_digest(member.token_sha256, hash_of(token))
            if place is None or member.status == "revoked" or not known:
                raise RefusedError("this invite is not known, or was revoked; ask for a new one")
            if member.status == "enrolled" and member.public_key != public_key:
                raise RefusedError("this invite was used already, with another key; ask for a new one")
            if any(other.public_key == public_key and other.site != site for other in members):
                raise RefusedError("this key belongs to another site; make a new one")
            if member.status == "invited" and time.time() > member.expires:
                raise RefusedError("this invite has expired; ask for a new one")
            members[place] = replace(member, status="enrolled", public_key=public_key)
            return members[place]

    def revoke(self, site: str) -> None:
        """Withdraw a site's key and its invite.

        Raises:
            UsageError: there is no such site.
        """
        with self._changed() as members:
            places = [place for place, member in enumerate(members) if member.site == site]
            if not places:
                known = ", ".join(member.site for member in members) or "none"
                raise UsageError(f"no site '{site}'; known: {known}")
            members[places[0]] = Member(site, "revoked")

    @contextmanager
    def _changed(self) -> Iterator[list[Member]]:
        """Yield the members under a lock, and write them when nothing was raised."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            members = self.members()
            yield members
            text = json.dumps([asdict(member) for member in members], indent=1)
            write_private(self.path, text.encode())
        finally:
            os.close(lock)


def hash_of(token: str) -> str:
    """Return the SHA-256 of a token, 64 hex digits; tokens are random, so no salt is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def claim_of(site: str, token: str) -> bytes:
    """Return what a site signs to enrol."""
    return f"fedmetric enrol {site} {hash_of(token)}".encode()
