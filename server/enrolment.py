"""How sites become known to Flower's server: pages for them to enrol and leave, and the roster carried over to Flower.

The roster is the truth: whoever is enrolled there is a node of Flower's, whoever is not is none. Other processes may
change it at any time, so a running server looks at it every second.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter, Body
from fastapi.responses import JSONResponse
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL, NOOP_ACCOUNT_NAME, NOOP_FLWR_AID
from flwr.supercore.constant import NodeStatus

from fedmetric import __version__
from fedmetric.deployment.certificates import is_signed
from fedmetric.deployment.invite import check_name
from fedmetric.deployment.office import Office
from fedmetric.deployment.private_files import write_private
from fedmetric.deployment.roster import Member, RefusedError, claim_of
from fedmetric.errors import UsageError
from fedmetric.runs import RunFolder
from fedmetric.wire import PROTOCOL

LOOK_SECONDS = 1.0
SETTING = "setting.json"
STRANGER = "this site is not enrolled here, or the request is not signed by it"
log = logging.getLogger("fedmetric.server")


class Nodes(Protocol):
    """Those parts of Flower's LinkState that know nodes."""

    def create_node(
        self, owner_aid: str, owner_name: str, public_key: bytes, heartbeat_interval: float, *, name: str | None = None
    ) -> int:
        """Add a node and return its number."""
        ...

    def delete_node(self, owner_aid: str, node_id: int) -> None:
        """Remove a node: its requests are refused from now on."""
        ...

    def get_node_id_by_public_key(self, public_key: bytes) -> int | None:
        """Return the number of the node with a key."""
        ...

    def deactivate_node(self, node_id: int) -> bool:
        """Count a node as not connected until it is heard of again; returns whether it was."""
        ...

    def get_node_info(self, *, node_ids: Sequence[int], statuses: Sequence[str]) -> Sequence[Any]:
        """Return what is known of those of some nodes that have one of these statuses."""
        ...


class Registrar:
    """Keep Flower's nodes as the roster has them."""

    def __init__(self, office: Office, nodes: Nodes) -> None:
        self._office, self._nodes = office, nodes
        self._known: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()

    def carry_over(self) -> None:
        """Add nodes for new keys, remove those of keys that are gone, and write the numbers down."""
        with self._lock:
            keys = {
                member.site: member.public_key
                for member in self._office.roster.members()
                if member.status == "enrolled"
            }
            for site, (key, node) in list(self._known.items()):
                if keys.get(site) != key:
                    self._nodes.delete_node(NOOP_FLWR_AID, node)
                    del self._known[site]
                    log.info("site %s is no longer let in", site)
            for site, key in keys.items():
                if site not in self._known and (found := self._node_of(site, key.encode())) is not None:
                    self._known[site] = (key, found)
            numbers = {site: node for site, (_, node) in self._known.items()}
            write_private(self._office.nodes, json.dumps(numbers).encode())

    def forget_strangers(self, nodes: dict[int, bytes]) -> None:
        """Remove nodes that Flower's database remembers and the roster does not, such as a site revoked meanwhile."""
        keys = {m.public_key.encode() for m in self._office.roster.members() if m.status == "enrolled"}
        for node, key in nodes.items():
            if key not in keys:
                self._nodes.delete_node(NOOP_FLWR_AID, node)

    def _node_of(self, site: str, key: bytes) -> int | None:
        """Return the node with a key, made if need be; None if Flower takes the key no more: others must not suffer."""
        known = self._nodes.get_node_id_by_public_key(key)
        if known is not None:
            return known
        try:
            return self._nodes.create_node(NOOP_FLWR_AID, NOOP_ACCOUNT_NAME, key, HEARTBEAT_DEFAULT_INTERVAL, name=site)
        except ValueError:
            log.error("site %s came with a key that was withdrawn; revoke it, and invite it once it has left", site)
            return None

    def expect_news(self) -> None:
        """Count no site as connected until it is heard of, at most a heartbeat later.

        Flower's database counts a node as connected for a minute after its last heartbeat, over a restart too; a site
        that died with the server would be sent a round that it can never answer.
        """
        for _, node in self._known.values():
            self._nodes.deactivate_node(node)

    def is_connected(self, site: str) -> bool:
        """Return whether Flower counts a site as connected; it does so for up to a minute after the site has died."""
        with self._lock:
            numbers = [self._known[site][1]] if site in self._known else []
        return bool(self._nodes.get_node_info(node_ids=numbers, statuses=[NodeStatus.ONLINE]))

    def watch(self, stop: threading.Event) -> None:
        """Carry the roster over whenever its file changes, until told to stop."""
        seen = -1
        while not stop.wait(LOOK_SECONDS):
            path = self._office.roster.path
            changed = path.stat().st_mtime_ns if path.exists() else 0
            if changed != seen:
                try:
                    self.carry_over()
                    seen = changed
                except Exception:
                    log.exception("the roster could not be carried over; trying again")


def pages(office: Office, registrar: Registrar, run: Path | None = None) -> APIRouter:
    """Build the pages under /fedmetric/ for a deployment and the run that it serves: hello, enrol, known and leave."""
    router = APIRouter(prefix="/fedmetric")

    @router.get("/hello", name="fedmetric_hello")
    def hello() -> dict[str, Any]:
        """Say who this is, so that a site can compare versions before it joins."""
        return {"federation": office.federation, "version": __version__, "protocol": PROTOCOL}

    @router.post("/enrol", name="fedmetric_enrol")
    def enrol(asked: Any = Body()) -> JSONResponse:  # noqa: B008
        """Take a site's public key for its token."""
        try:
            site = check_name(text_in(asked, "site"))
            office.roster.enrol(site, text_in(asked, "token"), text_in(asked, "public_key"), signature_in(asked))
            registrar.carry_over()
        except (UsageError, RefusedError) as error:
            log.warning("an enrolment was refused: %s", type(error).__name__)
            return JSONResponse({"error": str(error)}, 403)
        log.info("site %s has enrolled", site)
        return JSONResponse({"enrolled": site, "version": __version__, "protocol": PROTOCOL})

    @router.post("/known", name="fedmetric_known")
    def known(asked: Any = Body()) -> JSONResponse:  # noqa: B008
        """Tell a site that it is enrolled, whether a process of its is connected, and what is being run."""
        member = signed_member(office, asked, "known")
        if member is None:
            return JSONResponse({"error": STRANGER}, 403)
        return JSONResponse({"connected": registrar.is_connected(member.site), **(described(run) if run else {})})

    @router.post("/leave", name="fedmetric_leave")
    def leave(asked: Any = Body()) -> JSONResponse:  # noqa: B008
        """Let a site withdraw its own key."""
        member = signed_member(office, asked, "leave")
        if member is None:
            return JSONResponse({"error": STRANGER}, 403)
        office.roster.revoke(member.site)
        registrar.carry_over()
        log.info("site %s has left", member.site)
        return JSONResponse({"left": member.site})

    return router


def text_in(asked: Any, name: str) -> str:
    """Return one part of a request; any JSON may have been sent.

    Raises:
        RefusedError: it is not there, or no plain text.
    """
    value = asked.get(name) if isinstance(asked, dict) else None
    if not isinstance(value, str) or not value.isascii():
        raise RefusedError(f"{name} is needed, as plain text")
    return value


def signature_in(asked: Any) -> bytes:
    """Return the signature of a request.

    Raises:
        RefusedError: it is not written in base64.
    """
    try:
        return base64.b64decode(text_in(asked, "signature"), validate=True)
    except binascii.Error as error:
        raise RefusedError("the signature is not written in base64") from error


def signed_member(office: Office, asked: Any, what: str) -> Member | None:
    """Return the enrolled site that signed a request of this kind; None for anybody else."""
    try:
        site, signature = text_in(asked, "site"), signature_in(asked)
    except RefusedError:
        return None
    for member in office.roster.members():
        if member.site == site and member.status == "enrolled":
            return member if is_signed(member.public_key.encode(), claim_of(site, what), signature) else None
    return None


def described(run: Path) -> dict[str, Any]:
    """Return the experiment of a run as TOML, and the setting of the federation once it is known."""
    place = run / SETTING
    setting = json.loads(place.read_text(encoding="utf-8")) if place.exists() else None
    return {"experiment": RunFolder.open(run).experiment.to_toml(), "setting": setting}
