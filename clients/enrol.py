"""How a site makes itself known to the server: over TLS, to the one authority that its invite names."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from typing import Any

from fedmetric import __version__
from fedmetric.deployment.certificates import sign
from fedmetric.deployment.home import Home
from fedmetric.deployment.invite import Invite
from fedmetric.deployment.roster import claim_of
from fedmetric.errors import FedmetricError
from fedmetric.wire import PROTOCOL

SECONDS = 15.0
MAX_ANSWER = 1 << 20


class NotReachedError(FedmetricError):
    """Report that the server did not answer, or that what answered is not the server."""


def enrol(home: Home, invite: Invite) -> None:
    """Send the site's public key with the invite's token; may be repeated.

    Raises:
        NotReachedError: no server, or not the one that the invite names.
        FedmetricError: the server refused; the message is its reason.
    """
    ask(home, "enrol", enrolment(home, invite))
    home.mark_enrolled()


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
    signature = sign(home.key.read_bytes(), claim_of(home.site, "leave"))
    ask(home, "leave", {"site": home.site, "signature": base64.b64encode(signature).decode()})


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
        NotReachedError: no answer, or a certificate that is not to be trusted.
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
    except ssl.SSLError as error:
        raise NotReachedError(
            f"{home.address} is not the server that this site trusts, or its certificate is not valid: "
            f"{getattr(error, 'verify_message', '') or error.reason}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise NotReachedError(f"{home.address} does not answer: {error}") from error
    except ValueError as error:
        raise NotReachedError(f"{home.address} answers, but not as a fedmetric server does") from error
    finally:
        link.close()
    if answer.status != 200:
        raise FedmetricError(f"the server refused: {found.get('error', answer.status)}")
    return dict(found)
