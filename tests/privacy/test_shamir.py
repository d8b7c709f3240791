"""Secrets shared among holders, over the real prime and over fields small enough to count everything."""

from __future__ import annotations

import itertools
import secrets
from collections import Counter

import pytest
from scipy import stats

from fedmetric.errors import ProtocolError
from fedmetric.privacy.secure import shamir

TINY = 5


def is_probably_prime(number: int) -> bool:
    """Miller and Rabin's test to the first 20 prime bases."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71):
        powers = [pow(base, odd * 2**power, number) for power in range(twos)]
        if powers[0] != 1 and number - 1 not in powers:
            return False
    return True


def test_the_prime_is_the_smallest_above_every_secret() -> None:
    assert is_probably_prime(shamir.PRIME)
    assert not any(is_probably_prime(number) for number in range(2**256 + 1, shamir.PRIME, 2))


def test_a_line_is_found_from_two_points() -> None:
    """4 + 3 x modulo 5 is 2 at 1 and 0 at 2; its value at 0 is 4."""
    assert [shamir.evaluate([4, 3], point, TINY) for point in (0, 1, 2)] == [4, 2, 0]
    assert shamir.combine_numbers({1: 2, 2: 0}, TINY) == 4


@pytest.mark.parametrize(("threshold", "holders"), [(1, 1), (1, 4), (2, 3), (3, 5), (5, 5), (4, 7)])
def test_every_set_of_the_threshold_or_more_recovers_the_secret(threshold: int, holders: int) -> None:
    secret = secrets.token_bytes(32)
    shares = shamir.split(secret, threshold, range(holders))
    for size in range(threshold, holders + 1):
        for chosen in itertools.combinations(shares, size):
            assert shamir.combine({holder: shares[holder] for holder in chosen}) == secret


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, b"\x00" * 31 + b"\x01", b"\x80" + bytes(31)])
def test_secrets_at_the_ends_of_their_range_are_recovered(secret: bytes) -> None:
    shares = shamir.split(secret, 3, [0, 7, 2**64 - 1, 2**63])
    assert all(len(share) == 33 for share in shares.values())
    assert shamir.combine({holder: shares[holder] for holder in (2**64 - 1, 0, 2**63)}) == secret


def test_one_share_fewer_than_the_threshold_says_nothing_of_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the field of 5, threshold 3: all 25 draws, counted through the real `split_number`.

    For every secret and every two holders, each of the 25 pairs of shares comes from exactly one draw.
    """
    for secret in range(TINY):
        rows = []
        for draw in itertools.product(range(TINY), repeat=2):
            drawn = iter(draw)
            monkeypatch.setattr(shamir.secrets, "randbelow", lambda _, drawn=drawn: next(drawn))
            rows.append(shamir.split_number(secret, 3, [1, 2, 3, 4], TINY))
        for one, other in itertools.combinations([1, 2, 3, 4], 2):
            assert set(Counter((row[one], row[other]) for row in rows).values()) == {1}
            assert len({(row[one], row[other]) for row in rows}) == TINY**2


@pytest.mark.parametrize("secret", [0, 3])
def test_shares_drawn_from_the_system_are_uniform_whatever_the_secret(secret: int) -> None:
    drawn = [shamir.split_number(secret, 3, [1, 2, 3], TINY) for _ in range(2000)]
    counts = Counter((row[1], row[3]) for row in drawn)
    pairs = itertools.product(range(TINY), repeat=2)
    assert stats.chisquare([counts[pair] for pair in pairs]).pvalue > 1e-9


def test_too_few_shares_of_a_real_secret_do_not_give_it() -> None:
    secret = secrets.token_bytes(32)
    shares = shamir.split(secret, 3, range(5))
    for chosen in itertools.combinations(shares, 2):
        numbers = {holder + 1: int.from_bytes(shares[holder], "big") for holder in chosen}
        assert shamir.combine_numbers(numbers, shamir.PRIME) != int.from_bytes(secret, "big")


def test_two_splits_of_one_secret_share_nothing() -> None:
    secret = secrets.token_bytes(32)
    one, other = shamir.split(secret, 2, range(4)), shamir.split(secret, 2, range(4))
    assert not set(one.values()) & set(other.values())


def test_a_threshold_of_one_gives_everybody_the_secret() -> None:
    assert set(shamir.split(b"\x01" * 32, 1, range(3)).values()) == {b"\x00" + b"\x01" * 32}


def test_weights_of_the_holders_serve_many_secrets() -> None:
    known = [secrets.token_bytes(32) for _ in range(3)]
    weights = shamir.weights_at_zero([2, 5, 9])
    for secret in known:
        assert shamir.combine(shamir.split(secret, 3, [1, 4, 8]), weights) == secret


@pytest.mark.parametrize("share", [b"", b"\x00" * 32, b"\x00" * 34, b"\xff" * 33, shamir.PRIME.to_bytes(33, "big")])
def test_what_is_no_share_is_refused(share: bytes) -> None:
    with pytest.raises(ProtocolError, match=f"a share of {len(share)} bytes is no number of 33 bytes below the prime"):
        shamir.combine({0: share, 1: bytes(33)})


def test_shares_that_give_more_than_32_bytes_are_refused() -> None:
    """The largest number below the prime, as a share of threshold one, is 2^256 + 296."""
    with pytest.raises(ProtocolError, match="give no secret of 32 bytes"):
        shamir.combine({0: (shamir.PRIME - 1).to_bytes(33, "big")})
