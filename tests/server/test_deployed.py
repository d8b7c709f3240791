"""A deployed run's own parts, without Flower's processes: terms, nodes, and waiting for enough sites."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from fedmetric.deployment.certificates import new_node_key, public_key_of, sign
from fedmetric.deployment.office import Office, found_office
from fedmetric.deployment.roster import claim_of
from fedmetric.errors import FedmetricError, Interrupted, TooFewClientsError
from fedmetric.server.deployed import SiteNodes, Terms, gather_quorum, identities_of, read_terms

SITES = ("north", "south", "west")


class Online:
    """A grid of nodes that come and go: `steps[k]` are online at the k-th look."""

    def __init__(self, *steps: list[int]) -> None:
        self.steps = list(steps)

    def get_node_ids(self) -> list[int]:
        return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    office = found_office(tmp_path / "d", "clinics", ["127.0.0.1"])
    office.nodes.write_text(json.dumps({"north": 11, "south": 22}))
    return office


def wait(office: Office, *steps: list[int], quorum: int = 2, gathering: float = 100.0) -> None:
    times = iter(range(1000))
    gather_quorum(
        Online(*steps),  # type: ignore[arg-type]
        SiteNodes(office, SITES),
        [0, 1, 2],
        Terms(SITES, quorum, gathering=gathering),
        threading.Event(),
        clock=lambda: float(next(times)),
    )


def test_terms_survive_the_run_folder(tmp_path: Path) -> None:
    terms = Terms(SITES, 2, 30.0, 60.0)
    terms.write(tmp_path)
    assert read_terms(tmp_path) == terms


def test_a_run_of_another_kind_has_no_terms(tmp_path: Path) -> None:
    with pytest.raises(FedmetricError, match="was not begun by 'fedmetric serve'"):
        read_terms(tmp_path)


def test_nodes_are_looked_up_anew_each_time(office: Office) -> None:
    nodes = SiteNodes(office, SITES)
    assert (len(nodes), nodes[0], nodes[1], nodes[2]) == (3, 11, 22, None)
    office.nodes.write_text(json.dumps({"west": 33}))
    assert (nodes[0], nodes[2]) == (None, 33)


def test_a_round_begins_when_enough_sites_are_connected(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedmetric.server.deployed.LOOK_SECONDS", 0.0)
    wait(office, [], [11], [11, 22])


def test_who_is_missing_is_named(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedmetric.server.deployed.LOOK_SECONDS", 0.0)
    with pytest.raises(
        TooFewClientsError, match="1 of 3 sites are connected after 5 s, 2 are needed; missing: south, west"
    ):
        wait(office, [11], gathering=5.0)


def test_a_quorum_above_the_cohort_is_the_cohort(office: Office) -> None:
    office.nodes.write_text(json.dumps({"north": 1, "south": 2, "west": 3}))
    wait(office, [1, 2, 3], quorum=9)


def test_a_signal_ends_the_waiting(office: Office) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Interrupted):
        gather_quorum(Online([]), SiteNodes(office, SITES), [0], Terms(SITES, 1), stop)  # type: ignore[arg-type]


def test_a_sites_identity_is_the_key_of_the_roster_whatever_it_shows(office: Office) -> None:
    key, token = new_node_key(), office.roster.invite("south")
    office.roster.invite("north")
    office.roster.enrol("south", token, public_key_of(key).decode(), sign(key, claim_of("south", token)))
    registered = identities_of(office, SITES)
    assert registered(1, b"another") == public_key_of(key)
    assert registered(0, b"not enrolled yet") == b""
    assert registered(2, b"not invited") == b""
    office.roster.revoke("south")
    assert registered(1, public_key_of(key)) == b""
