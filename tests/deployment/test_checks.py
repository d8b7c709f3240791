"""The lines of 'fedmetric doctor' for both sides of a deployment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from https_server import running

from fedmetric.deployment.certificates import Pair, new_authority, new_server
from fedmetric.deployment.checks import Finding, check_home, check_office, hosts_contacted
from fedmetric.deployment.home import Home, settle
from fedmetric.deployment.office import Office, found_office
from fedmetric.errors import FedmetricError


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return found_office(tmp_path / "d", "clinics", ["127.0.0.1"])


@pytest.fixture
def home(tmp_path: Path, office: Office) -> Home:
    (tmp_path / "images").mkdir()
    return settle(tmp_path / "north", office.invite("north"), tmp_path / "images")


def line(findings: list[Finding], what: str) -> Finding:
    return next(finding for finding in findings if finding.what == what)


def pair(office: Office) -> Pair:
    return Pair(office.certificate.read_bytes(), office.key.read_bytes())


def authority(office: Office) -> Pair:
    return Pair(office.authority.read_bytes(), office.authority_key.read_bytes())


def test_a_new_deployment_has_nothing_wrong(office: Office) -> None:
    office.invite("north")
    found = check_office(office)
    assert "bad" not in {finding.status for finding in found}
    assert line(found, "sites").detail == "0 enrolled, 1 invited"
    assert line(found, "authority.key").status == "note"


@pytest.mark.parametrize(
    ("hosts", "days", "detail"),
    [(["127.0.0.1"], -0.02, "has expired on"), (["elsewhere"], 90, "is not for server.example")],
)
def test_a_certificate_that_will_not_do_is_bad(tmp_path: Path, hosts: list[str], days: float, detail: str) -> None:
    office = found_office(tmp_path / "d", "clinics", ["server.example" if days > 0 else "127.0.0.1"])
    late = new_server(authority(office), hosts, days)  # type: ignore[arg-type]
    office.certificate.write_bytes(late.certificate)
    found = line(check_office(office), "certificate")
    assert found.status == "bad"
    assert detail in found.detail


def test_a_certificate_of_another_authority_is_bad(office: Office) -> None:
    office.certificate.write_bytes(new_server(new_authority("x"), ["127.0.0.1"]).certificate)
    assert line(check_office(office), "certificate").detail == "was not issued by this deployment's authority"


def test_keys_that_others_may_read_are_bad(office: Office) -> None:
    office.key.chmod(0o644)
    assert line(check_office(office), "keys") == Finding("bad", "keys", "others may read server.key; chmod 600")


def test_a_site_that_the_server_knows_has_nothing_wrong(home: Home, office: Office, tmp_path: Path) -> None:
    with running(pair(office), tmp_path) as server:
        found = check_home(replace(home, port=server.server_address[1]), lambda home: None)
    assert {finding.status for finding in found} <= {"ok", "note"}
    assert line(found, "registered").detail == "the server knows site 'north'"


def test_a_site_that_the_server_does_not_know_is_told(home: Home, office: Office, tmp_path: Path) -> None:
    def unknown(home: Home) -> None:
        raise FedmetricError("the server refused: who are you?")

    with running(pair(office), tmp_path) as server:
        found = check_home(replace(home, port=server.server_address[1]), unknown)
    assert line(found, "registered") == Finding("bad", "registered", "the server refused: who are you?")


def test_another_server_at_the_address_is_not_to_be_trusted(home: Home, tmp_path: Path) -> None:
    with running(new_server(new_authority("x"), ["127.0.0.1"]), tmp_path) as server:
        found = check_home(replace(home, port=server.server_address[1]), lambda home: None)
    assert line(found, "server").status == "bad"
    assert "is not to be trusted" in line(found, "server").detail
    assert all(finding.what != "registered" for finding in found), "what is not trusted is asked nothing"


def test_a_server_that_is_not_there_is_bad(home: Home) -> None:
    assert "cannot be reached" in line(check_home(replace(home, port=1), lambda home: None), "server").detail


def test_images_that_are_not_there_are_bad(home: Home, tmp_path: Path) -> None:
    found = check_home(replace(home, data=tmp_path / "gone", port=1), lambda home: None)
    assert line(found, "images").status == "bad"


def test_a_site_contacts_one_host(home: Home) -> None:
    assert hosts_contacted(home) == ["127.0.0.1:9443 (the server, TLS, one port, from here outwards only)"]
