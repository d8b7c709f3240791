"""The roster is carried over to Flower's nodes, whoever changes it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flower_nodes import Nodes, key

from fedmetric.deployment.certificates import public_key_of, sign
from fedmetric.deployment.office import Office, found_office, open_office
from fedmetric.deployment.roster import claim_of
from fedmetric.server import enrolment
from fedmetric.server.enrolment import Registrar


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return found_office(tmp_path / "deployment", "clinics", ["127.0.0.1"])


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
def registrar(office: Office, nodes: Nodes) -> Registrar:
    return Registrar(office, nodes)


def enrol(office: Office, site: str, number: int) -> None:
    """Let a site enrol from another process, as far as the registrar can tell."""
    roster = open_office(office.folder).roster
    token = roster.invite(site)
    roster.enrol(site, token, public_key_of(key(number)).decode(), sign(key(number), claim_of(site, token)))


def numbers(office: Office) -> dict[str, int]:
    found: dict[str, int] = json.loads(office.nodes.read_text())
    return found


def test_enrolled_sites_become_nodes_and_invited_ones_do_not(
    registrar: Registrar, office: Office, nodes: Nodes
) -> None:
    registrar.carry_over()
    assert numbers(office) == {}
    office.invite("east")
    enrol(office, "north", 0)
    enrol(office, "south", 1)
    registrar.carry_over()
    assert numbers(office) == {"north": 7000, "south": 7001}
    assert nodes.here() == {7000: public_key_of(key(0)), 7001: public_key_of(key(1))}


def test_sites_that_stay_keep_their_numbers(registrar: Registrar, office: Office, nodes: Nodes) -> None:
    for number, site in enumerate(("north", "east", "south")):
        enrol(office, site, number)
        registrar.carry_over()
    office.roster.revoke("east")
    registrar.carry_over()
    registrar.carry_over()
    assert numbers(office) == {"north": 7000, "south": 7002}
    assert nodes.deleted == {7001}


def test_a_site_that_comes_back_with_another_key_is_another_node(
    registrar: Registrar, office: Office, nodes: Nodes
) -> None:
    enrol(office, "north", 0)
    registrar.carry_over()
    office.roster.revoke("north")
    enrol(office, "north", 1)  # before anybody looked
    registrar.carry_over()
    assert numbers(office) == {"north": 7001}
    assert list(nodes.here()) == [7001]


def test_a_site_that_comes_back_with_a_withdrawn_key_stays_out_and_harms_nobody(
    registrar: Registrar, office: Office, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    enrol(office, "north", 0)
    registrar.carry_over()
    office.roster.revoke("north")
    registrar.carry_over()
    enrol(office, "north", 0)
    enrol(office, "south", 1)
    registrar.carry_over()
    assert numbers(office) == {"south": 7001}
    assert "site north came with a key that was withdrawn" in caplog.text


def test_a_server_that_is_started_again_finds_its_nodes_again(office: Office, nodes: Nodes) -> None:
    for number, site in enumerate(("north", "south")):
        enrol(office, site, number)
    Registrar(office, nodes).carry_over()
    again = Registrar(office, nodes)
    again.forget_strangers(nodes.here())
    again.carry_over()
    assert numbers(office) == {"north": 7000, "south": 7001}
    assert nodes.deleted == set()


def test_sites_that_were_revoked_while_the_server_was_down_are_forgotten(office: Office, nodes: Nodes) -> None:
    for number, site in enumerate(("north", "south")):
        enrol(office, site, number)
    Registrar(office, nodes).carry_over()
    office.roster.revoke("north")
    again = Registrar(office, nodes)
    again.forget_strangers(nodes.here())
    again.carry_over()
    assert list(nodes.here()) == [7001]
    assert numbers(office) == {"south": 7001}


@pytest.fixture
def watched(registrar: Registrar, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[], bool]], bool]]:
    """Let the registrar watch, and return a function that waits until something is so, 10 seconds at most."""
    monkeypatch.setattr(enrolment, "LOOK_SECONDS", 0.01)
    stop = threading.Event()
    thread = threading.Thread(target=registrar.watch, args=(stop,), daemon=True)
    thread.start()

    def becomes(so: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + 10
        while not so() and time.monotonic() < deadline:
            time.sleep(0.01)
        return so()

    yield becomes
    stop.set()
    thread.join(10)
    assert not thread.is_alive()


def test_a_change_by_another_process_is_noticed(
    watched: Callable[[Callable[[], bool]], bool], office: Office, nodes: Nodes
) -> None:
    enrol(office, "north", 0)
    assert watched(lambda: list(nodes.here().values()) == [public_key_of(key(0))])
    open_office(office.folder).roster.revoke("north")
    assert watched(lambda: nodes.deleted == {7000})
    assert watched(lambda: numbers(office) == {})


def test_a_roster_that_cannot_be_read_for_a_while_ends_nothing(
    watched: Callable[[Callable[[], bool]], bool], office: Office, nodes: Nodes, caplog: pytest.LogCaptureFixture
) -> None:
    enrol(office, "north", 0)
    assert watched(lambda: len(nodes.here()) == 1)
    whole = office.roster.path.read_text()
    office.roster.path.write_text("{")
    assert watched(lambda: "the roster could not be carried over; trying again" in caplog.text)
    assert len(nodes.here()) == 1  # nobody is sent away for a damaged file
    office.roster.path.write_text(whole)
    enrol(office, "south", 1)
    assert watched(lambda: len(nodes.here()) == 2)


def test_a_server_that_was_restarted_counts_nobody_as_connected(
    registrar: Registrar, office: Office, nodes: Nodes
) -> None:
    for number, site in enumerate(("north", "south")):
        enrol(office, site, number)
    registrar.carry_over()
    nodes.connected = {7000, 7001}
    assert registrar.is_connected("north")
    registrar.expect_news()
    assert not registrar.is_connected("north")
    assert nodes.connected == set()
    assert not registrar.is_connected("a stranger")
