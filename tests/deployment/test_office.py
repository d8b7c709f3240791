"""A deployment's folder: what it holds, who may read it, and how it is renewed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmetric.deployment.certificates import is_issued_by, read_certificate
from fedmetric.deployment.invite import read_invite
from fedmetric.deployment.office import Office, found_office, open_office
from fedmetric.deployment.private_files import is_private
from fedmetric.errors import UsageError


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return found_office(tmp_path / "deployment", "clinics", ["server.example", "192.0.2.7"], 9000)


def test_a_deployment_is_read_as_it_was_made(office: Office) -> None:
    assert open_office(office.folder) == office
    assert (office.federation, office.hosts, office.port) == ("clinics", ("server.example", "192.0.2.7"), 9000)
    assert office.roster.members() == []


def test_its_secrets_are_private_and_its_folder_is_closed(office: Office) -> None:
    assert all(is_private(path) for path in (office.authority_key, office.key, office.control_secret, office.folder))
    assert len(office.control_secret.read_text()) >= 43


def test_two_deployments_share_no_secret(office: Office, tmp_path: Path) -> None:
    other = found_office(tmp_path / "other", "clinics", ["server.example"])
    for one, two in ((office.control_secret, other.control_secret), (office.authority, other.authority)):
        assert one.read_bytes() != two.read_bytes()


def test_its_certificate_is_the_authoritys_and_for_its_hosts(office: Office) -> None:
    certificate = office.certificate.read_bytes()
    assert is_issued_by(certificate, office.authority.read_bytes())
    assert {"server.example", "192.0.2.7", "127.0.0.1"} <= set(read_certificate(certificate).hosts)


def test_an_invite_says_where_the_server_is_and_whom_to_trust(office: Office) -> None:
    invite = office.invite("north")
    assert read_invite(invite.to_text()) == invite
    assert (invite.site, invite.address) == ("north", "server.example:9000")
    assert invite.authority == office.authority.read_text()
    assert [member.site for member in office.roster.members()] == ["north"]


def test_a_renewed_certificate_is_another_one_of_the_same_authority(office: Office) -> None:
    before, authority, key = office.certificate.read_bytes(), office.authority.read_bytes(), office.key.read_bytes()
    office.renew()
    assert office.certificate.read_bytes() != before
    assert office.key.read_bytes() != key
    assert is_private(office.key)
    assert office.authority.read_bytes() == authority
    assert is_issued_by(office.certificate.read_bytes(), authority)


def test_without_the_authoritys_key_nothing_is_renewed(office: Office) -> None:
    before = office.certificate.read_bytes()
    office.authority_key.unlink()
    with pytest.raises(UsageError, match="authority.key is not here; bring it back to renew the certificate"):
        office.renew()
    assert office.certificate.read_bytes() == before


def test_a_deployment_is_not_made_over_another(office: Office) -> None:
    before = {path: path.read_bytes() for path in office.folder.iterdir()}
    with pytest.raises(UsageError, match="is a deployment already; 'fedmetric deploy invite' adds sites to it"):
        found_office(office.folder, "others", ["server.example"])
    assert {path: path.read_bytes() for path in office.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("federation", "hosts", "port", "message"),
    [
        ("../up", ["server.example"], 9443, r"'\.\./up' cannot be a name"),
        ("clinics", ["server.example:9443"], 9443, "'server.example:9443' is neither a host name nor an IP address"),
        ("clinics", [], 9443, "needs a host name or IP address"),
        ("clinics", ["server.example"], 0, "port 0 is not between 1 and 65535"),
        ("clinics", ["server.example"], 65536, "port 65536 is not between 1 and 65535"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    federation: str, hosts: list[str], port: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        found_office(tmp_path / "deployment", federation, hosts, port)
    assert not (tmp_path / "deployment").exists()


def test_a_folder_that_is_no_deployment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no deployment; make one with 'fedmetric deploy init'"):
        open_office(tmp_path)


@pytest.mark.parametrize("text", ["federation = ", 'federation = "a"', 'federation = "a"\nhosts = 3\nport = 1', "\xff"])
def test_damaged_settings_are_named(text: str, office: Office) -> None:
    (office.folder / "deployment.toml").write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match=r"deployment\.toml: .* is wrong or missing"):
        open_office(office.folder)


def test_settings_with_a_port_that_is_no_number_are_refused(office: Office) -> None:
    settings = office.folder / "deployment.toml"
    settings.write_text(settings.read_text().replace("9000", '"nine"'))
    with pytest.raises(UsageError, match=r"deployment\.toml: ValueError\(.*nine.*is wrong or missing"):
        open_office(office.folder)
