"""How a site makes itself known to the server: over TLS, to the one authority that its invite names."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from collections.abc import Callable
from typing import Any, TypeVar

from fedmetric import __version__
from fedmetric.deployment.certificates import sign
from fedmetric.deployment.home import Home
from fedmetric.deployment.invite import Invite
from fedmetric.deployment.roster import claim_of
from fedmetric.errors import FedmetricError
from fedmetric.wire import PROTOCOL

SECONDS, AGAIN_SECONDS = 15.0, 5.0
FORGOTTEN_SECONDS = 75.0
"""After so long Flower has given up a process that died: two heartbeats, and some more."""
MAX_ANSWER = 1 << 20
T = TypeVar("T")


class NotReachedError(FedmetricError):
    """Report that the server did not answer; it may later."""


class NotTrustedError(FedmetricError):
    """Report that what answered is not the server that the invite names, or cannot be told from another."""


def enrol(home: Home, invite: Invite) -> None:
    """Send the site's public key with the invite's token; may be repeated.

    Raises:
        NotReachedError: no server.
        NotTrustedError: not the server that the invite names.
        FedmetricError: the server refused; the message is its reason.
    """
    ask(home, "enrol", enrolment(home, invite))
    home.mark_enrolled(invite.token)


def enrolment(home: Home, invite: Invite) -> dict[str, str]:
    """Return what the server must be told to enrol a site; holds the invite's token."""
    signature = sign(home.key.read_bytes(), claim_of(invite.site, invite.token))
    return {
        "site": invite.site,
        "token": invite.token,
        "public_key": home.public_key(),
        "signature": base64.b64encode(signature).decode(),
    }


def leave(home: Home) -> None:
    """Ask the server to forget the site's key.

    Raises:
        NotReachedError: no server.
        FedmetricError: the server does not know the site.
    """
    ask_signed(home, "leave")


def ask_known(home: Home) -> dict[str, Any]:
    """Ask the server whether it knows this site's key, and what it is running.

    Raises:
        NotReachedError: no server.
        FedmetricError: the server does not know the site.
    """
    return ask_signed(home, "known")


def wait_alone(home: Home, tell: Callable[[str], None], wait: Callable[[float], None] = time.sleep) -> None:
    """Wait until the server counts no earlier process of this site as connected: it lets in one at a time.

    Args:
        home: of the site.
        tell: is told once why there is a wait.
        wait: sleeps for this many seconds.

    Raises:
        FedmetricError: another process of this site is running, or the server does not know the site.
    """
    for waited in range(0, int(FORGOTTEN_SECONDS), int(AGAIN_SECONDS)):
        if not patiently(lambda: ask_known(home), tell, wait).get("connected"):
            return
        if not waited:
            tell("the server still counts an earlier process of this site as connected; waiting up to a minute")
        wait(AGAIN_SECONDS)
    raise FedmetricError(f"another process of site '{home.site}' is connected to the server; stop that one first")


def ask_signed(home: Home, page: str) -> dict[str, Any]:
    """Post the site's name to a page, signed for that page with the site's key; see `ask`."""
    signature = sign(home.key.read_bytes(), claim_of(home.site, page))
    return ask(home, page, {"site": home.site, "signature": base64.b64encode(signature).decode()})


def hello(home: Home) -> dict[str, Any]:
    """Ask the server who it is.

    Raises:
        NotReachedError: no server.
        FedmetricError: the server speaks another protocol.
    """
    found = ask(home, "hello")
    if found.get("protocol") != PROTOCOL:
        raise FedmetricError(
            f"the server speaks protocol {found.get('protocol')} (fedmetric {found.get('version')}), this site "
            f"{PROTOCOL} (fedmetric {__version__}); install the same version on both sides"
        )
    return found


def ask(home: Home, page: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Get a page of the server's, or post JSON to it, and return its answer.

    Raises:
        NotReachedError: no answer.
        NotTrustedError: a certificate that is not to be trusted.
        FedmetricError: the server refused.
    """
    context = ssl.create_default_context(cafile=str(home.authority))
    link = http.client.HTTPSConnection(home.host, home.port, timeout=SECONDS, context=context)
    try:
        content = None if body is None else json.dumps(body)
        link.request(
            "GET" if body is None else "POST", f"/fedmetric/{page}", content, {"content-type": "application/json"}
        )
        answer = link.getresponse()
        found = json.loads(answer.read(MAX_ANSWER))
        if not isinstance(found, dict):
            raise ValueError("the answer is no table")
    except ssl.SSLEOFError as error:  # it is just being started or stopped, or a relay before it has no server yet
        raise NotReachedError(f"{home.address} does not answer: it hung up") from error
    except ssl.SSLError as error:
        raise NotTrustedError(
            f"{home.address} is not the server that this site trusts, or its certificate is not valid: "
            f"{getattr(error, 'verify_message', '') or error.reason}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise NotReachedError(f"{home.address} does not answer: {error}") from error
    except ValueError as error:
        raise NotTrustedError(f"{home.address} answers, but not as a fedmetric server does") from error
    finally:
        link.close()
    if answer.status != 200:
        raise FedmetricError(f"the server refused: {found.get('error', answer.status)}")
    return found


def patiently(step: Callable[[], T], tell: Callable[[str], None], wait: Callable[[float], None] = time.sleep) -> T:
    """Do something with the server, and again every few seconds while it does not answer; it may be started later.

    Args:
        step: what to do.
        tell: is told once that there is no answer yet.
        wait: sleeps for this many seconds.
    """
    told = False
    while True:
        try:
            return step()
        except NotReachedError as error:
            if not told:
                tell(f"{error}; trying again every {AGAIN_SECONDS:.0f} s")
                told = True
            wait(AGAIN_SECONDS)
