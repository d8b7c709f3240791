"""A site's folder: made once, gone on with, and never mistaken for another site's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedmetric.deployment.home import Home, default_home, open_home, settle
from fedmetric.deployment.invite import Invite
from fedmetric.deployment.office import found_office
from fedmetric.deployment.private_files import is_private
from fedmetric.errors import UsageError


@pytest.fixture
def invite(tmp_path: Path) -> Invite:
    return found_office(tmp_path / "deployment", "clinics", ["server.example"], 9000).invite("north")


@pytest.fixture
def home(tmp_path: Path, invite: Invite) -> Home:
    return settle(tmp_path / "north", invite, tmp_path / "images")


def add_limits(home: Home, text: str) -> None:
    settings = home.folder / "site.toml"
    settings.write_text(settings.read_text().replace("[limits]\n", "") + text)


def test_a_site_is_read_as_it_was_made(home: Home, tmp_path: Path) -> None:
    assert open_home(home.folder) == home
    assert (home.site, home.federation, home.address) == ("north", "clinics", "server.example:9000")
    assert home.data == tmp_path / "images"
    assert not home.enrolled


def test_the_key_and_the_settings_are_private_and_hold_no_token(home: Home, invite: Invite) -> None:
    assert all(is_private(path) for path in (home.key, home.folder / "site.toml", home.folder))
    assert not any(invite.token.encode() in path.read_bytes() for path in home.folder.iterdir())


def test_a_relative_folder_of_images_is_kept_absolute(
    tmp_path: Path, invite: Invite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = settle(Path("north"), invite, Path("images"))
    assert (home.folder, home.data) == (tmp_path / "north", tmp_path / "images")


def test_settling_again_keeps_the_key_and_the_limits_and_takes_new_images_and_address(
    home: Home, invite: Invite, tmp_path: Path
) -> None:
    key = home.public_key()
    home.mark_enrolled(invite.token)
    add_limits(home, "\n[limits]\nepochs = 3\n")
    again = settle(home.folder, replace(invite, host="moved.example", port=9001), tmp_path / "more")
    assert again.public_key() == key
    assert again.limits == {"epochs": 3}
    assert again.enrolled
    assert (again.address, again.data) == ("moved.example:9001", tmp_path / "more")
    assert open_home(home.folder) == again


def test_a_site_that_is_invited_anew_gets_another_key_for_its_old_one_was_withdrawn(home: Home, invite: Invite) -> None:
    key = home.public_key()
    add_limits(home, "\n[limits]\nepochs = 3\n")
    anew = replace(invite, token="anew")
    assert settle(home.folder, anew, home.data).public_key() == key  # it has never enrolled
    home.mark_enrolled(invite.token)
    again = settle(home.folder, anew, home.data)
    assert not again.enrolled
    assert again.public_key() != key
    assert again.limits == {"epochs": 3}
    again.mark_enrolled("anew")
    assert settle(home.folder, anew, home.data).public_key() == again.public_key()


def test_two_sites_have_keys_of_their_own(home: Home, invite: Invite, tmp_path: Path) -> None:
    other = settle(tmp_path / "south", replace(invite, site="south"), tmp_path / "images")
    assert other.public_key() != home.public_key()


@pytest.mark.parametrize("change", [{"site": "south"}, {"federation": "others"}])
def test_the_folder_of_another_site_is_refused(
    change: dict[str, str], home: Home, invite: Invite, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"is site 'north' of 'clinics'; choose another --home"):
        settle(home.folder, replace(invite, **change), tmp_path / "images")
    assert open_home(home.folder) == home


def test_an_invite_of_another_authority_is_refused(home: Home, tmp_path: Path) -> None:
    other = found_office(tmp_path / "other", "clinics", ["server.example"], 9000).invite("north")
    with pytest.raises(UsageError, match="trusts another authority than this invite names; if the server was set up"):
        settle(home.folder, other, tmp_path / "images")
    assert home.authority.read_text() != other.authority


def test_a_folder_that_is_no_site_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no site; join a federation with 'fedmetric join INVITE --data DIR'"):
        open_home(tmp_path)


@pytest.mark.parametrize("text", ["site = ", 'site = "north"', "\xff", "limits = 3\n"])
def test_damaged_settings_are_named(text: str, home: Home) -> None:
    settings = home.folder / "site.toml"
    whole = settings.read_text().replace("[limits]\n", "") if text.startswith("limits") else ""
    settings.write_text(whole + text, encoding="latin-1")
    with pytest.raises(UsageError, match=r"site\.toml: .* is wrong or missing"):
        open_home(home.folder)


def test_removing_a_site_leaves_nothing_behind(home: Home, invite: Invite) -> None:
    home.mark_enrolled(invite.token)
    home.log.touch()
    for folder in (home.memory, home.folder / "flower"):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "file").touch()
    assert home.remove()
    assert not home.folder.exists()


def test_removing_a_site_spares_images_that_lie_in_its_folder(tmp_path: Path, invite: Invite) -> None:
    images = tmp_path / "north" / "images"
    images.mkdir(parents=True)
    (images / "a.png").touch()
    assert not settle(tmp_path / "north", invite, images).remove()
    assert [path.name for path in (tmp_path / "north").rglob("*")] == ["images", "a.png"]


def test_a_site_lives_under_the_users_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_home("clinics", "north") == tmp_path / "fedmetric" / "clinics" / "north"
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_home("clinics", "north") == Path.home() / ".local" / "state" / "fedmetric" / "clinics" / "north"
