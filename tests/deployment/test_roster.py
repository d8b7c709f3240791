"""A token is good for one key; the order of the sites stays; several processes may write at once."""

from __future__ import annotations

import json
import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from fedmetric.deployment import roster as module
from fedmetric.deployment.certificates import new_node_key, public_key_of, sign
from fedmetric.deployment.private_files import is_private
from fedmetric.deployment.roster import Member, RefusedError, Roster, claim_of, hash_of
from fedmetric.errors import FedmetricError, UsageError


@cache
def key(number: int) -> bytes:
    """Return a node's key, the same for the same number."""
    return new_node_key()


@pytest.fixture
def roster(tmp_path: Path) -> Roster:
    return Roster(tmp_path / "sites.json")


def enrol(roster: Roster, site: str, token: str, number: int = 0, signer: int | None = None) -> Member:
    signature = sign(key(number if signer is None else signer), claim_of(site, token))
    return roster.enrol(site, token, public_key_of(key(number)).decode(), signature)


def test_a_site_is_invited_then_enrolled_with_its_key(roster: Roster) -> None:
    token = roster.invite("north")
    assert [(member.site, member.status) for member in roster.members()] == [("north", "invited")]
    enrol(roster, "north", token)
    (member,) = roster.members()
    assert (member.status, member.public_key.encode()) == ("enrolled", public_key_of(key(0)))


def test_before_the_first_invite_there_are_no_sites(roster: Roster) -> None:
    assert roster.members() == []


def test_enrolling_again_with_the_same_key_is_fine_even_after_the_token_expired(
    roster: Roster, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = roster.invite("north")
    first = enrol(roster, "north", token)
    monkeypatch.setattr(time, "time", lambda: first.expires + 1)
    assert enrol(roster, "north", token) == first
    assert roster.members() == [first]


def test_a_token_is_not_good_for_a_second_key(roster: Roster) -> None:
    token = roster.invite("north")
    first = enrol(roster, "north", token)
    with pytest.raises(RefusedError, match="this invite was used already, with another key; ask for a new one"):
        enrol(roster, "north", token, 1)
    assert roster.members() == [first]


def test_an_expired_token_is_refused(roster: Roster) -> None:
    token = roster.invite("north", seconds=-1)
    with pytest.raises(RefusedError, match="this invite has expired; ask for a new one"):
        enrol(roster, "north", token)


def test_unknown_sites_wrong_tokens_and_revoked_ones_get_the_same_answer(roster: Roster) -> None:
    north, south = roster.invite("north"), roster.invite("south")
    roster.revoke("south")
    answers = set()
    for site, token in [("east", north), ("north", south), ("north", ""), ("south", south), ("south", "")]:
        with pytest.raises(RefusedError) as caught:
            enrol(roster, site, token)
        answers.add(str(caught.value))
    assert answers == {"this invite is not known, or was revoked; ask for a new one"}


def test_a_key_of_another_site_is_refused(roster: Roster) -> None:
    tokens = {site: roster.invite(site) for site in ("north", "south")}
    enrol(roster, "north", tokens["north"])
    with pytest.raises(RefusedError, match="this key belongs to another site; make a new one"):
        enrol(roster, "south", tokens["south"])
    enrol(roster, "south", tokens["south"], 1)


def test_whoever_does_not_hold_the_key_is_refused(roster: Roster) -> None:
    token = roster.invite("north")
    message = "the key is no EC P-384 key, or the request was not signed with it"
    with pytest.raises(RefusedError, match=message):
        enrol(roster, "north", token, 0, signer=1)
    with pytest.raises(RefusedError, match=message):
        roster.enrol("north", token, "garbage", b"")
    stolen = sign(key(0), claim_of("south", token))
    with pytest.raises(RefusedError, match=message):
        roster.enrol("north", token, public_key_of(key(0)).decode(), stolen)


def test_a_new_invite_replaces_the_old_token(roster: Roster) -> None:
    old, new = roster.invite("north"), roster.invite("north")
    with pytest.raises(RefusedError, match="is not known"):
        enrol(roster, "north", old)
    assert enrol(roster, "north", new).status == "enrolled"


def test_a_site_that_has_enrolled_is_not_invited_again_until_it_is_revoked(roster: Roster) -> None:
    enrol(roster, "north", roster.invite("north"))
    with pytest.raises(UsageError, match="site 'north' has joined already; revoke it first"):
        roster.invite("north")
    roster.revoke("north")
    assert enrol(roster, "north", roster.invite("north"), 1).public_key.encode() == public_key_of(key(1))


def test_the_order_stays_when_a_site_is_revoked_and_invited_again(roster: Roster) -> None:
    tokens = {site: roster.invite(site) for site in ("north", "east", "south")}
    enrol(roster, "east", tokens["east"])
    roster.revoke("east")
    assert roster.members()[1] == Member("east", "revoked")
    roster.invite("west")
    roster.invite("east")
    assert [(member.site, member.status) for member in roster.members()] == [
        ("north", "invited"), ("east", "invited"), ("south", "invited"), ("west", "invited"),
    ]  # fmt: skip


def test_revoking_a_site_that_is_not_there_names_those_that_are(roster: Roster) -> None:
    with pytest.raises(UsageError, match="no site 'nord'; known: none"):
        roster.revoke("nord")
    roster.invite("north")
    roster.invite("south")
    with pytest.raises(UsageError, match="no site 'nord'; known: north, south"):
        roster.revoke("nord")


def test_a_name_that_cannot_be_part_of_a_path_is_not_invited(roster: Roster) -> None:
    with pytest.raises(UsageError, match=r"'\.\./north' cannot be a name"):
        roster.invite("../north")
    assert not roster.path.exists()


def test_the_file_is_private_and_holds_no_token(roster: Roster) -> None:
    token = roster.invite("north")
    enrol(roster, "north", token)
    assert is_private(roster.path)
    assert all(is_private(path) for path in roster.path.parent.iterdir())
    assert token not in roster.path.read_text()
    assert json.loads(roster.path.read_text())[0]["token_sha256"] == hash_of(token)


@pytest.mark.parametrize("text", ["", "{", "3", '[{"place": 1}]', '["north"]'])
def test_a_damaged_file_is_no_roster_and_is_not_overwritten(text: str, roster: Roster) -> None:
    roster.path.write_text(text)
    with pytest.raises(FedmetricError, match="sites.json: not a roster"):
        roster.invite("north")
    assert roster.path.read_text() == text


def invite_some(path: Path, first: int) -> None:
    for number in range(first, first + 10):
        Roster(path).invite(f"site-{number}")


def test_invites_from_several_processes_are_all_kept(roster: Roster) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=invite_some, args=(roster.path, first)) for first in (0, 10, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert sorted(member.site for member in roster.members()) == sorted(f"site-{number}" for number in range(30))


def test_sites_that_enrol_at_the_same_moment_are_all_enrolled(roster: Roster, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = {number: roster.invite(f"site-{number}") for number in range(8)}
    write = module.write_private
    monkeypatch.setattr(module, "write_private", lambda *given: (time.sleep(0.01), write(*given)))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: enrol(roster, f"site-{number}", tokens[number], number), tokens))
    keys = [public_key_of(key(number)).decode() for number in range(8)]
    assert [(member.status, member.public_key) for member in roster.members()] == [("enrolled", k) for k in keys]
