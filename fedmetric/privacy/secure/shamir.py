"""Shamir's secret sharing of 32-byte secrets: any t of n holders recover one, t - 1 learn nothing.

Shamir, How to Share a Secret, Communications of the ACM 22 (11), 1979. The secret is the value at 0 of a polynomial of
degree t - 1 over the integers modulo a prime, whose other coefficients are drawn at random; a share is its value at
another point. The prime is the smallest above 2^256, so every 32-byte secret is a number below it.

Randomness is the operating system's, never from an experiment's seed: who knows the seed must not know the shares.
Python's integers do not take constant time; a holder's own machine is not the adversary here.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence

from fedmetric.errors import ProtocolError

PRIME = 2**256 + 297
SECRET_BYTES, SHARE_BYTES = 32, 33


def split(secret: bytes, threshold: int, holders: Iterable[int]) -> dict[int, bytes]:
    """Split a secret into one share for each holder.

    Args:
        secret: 32 bytes.
        threshold: shares that recover it.
        holders: distinct numbers from 0; holder h gets the polynomial's value at h + 1.

    Returns:
        33 bytes for each holder.
    """
    assert len(secret) == SECRET_BYTES
    shares = split_number(int.from_bytes(secret, "big"), threshold, [holder + 1 for holder in holders], PRIME)
    return {point - 1: value.to_bytes(SHARE_BYTES, "big") for point, value in shares.items()}


def combine(shares: Mapping[int, bytes], weights: Mapping[int, int] | None = None) -> bytes:
    """Recover a secret from as many shares as its threshold, or more.

    Args:
        shares: 33 bytes for each holder.
        weights: those of `weights_at_zero` for these holders' points, where many secrets have the same holders.

    Returns:
        32 bytes: the secret, if no share is altered and they are enough; otherwise bytes without meaning.

    Raises:
        ProtocolError: a share is none, or the secret that they give has more than 32 bytes.
    """
    numbers = {holder + 1: read_share(share) for holder, share in shares.items()}
    number = combine_numbers(numbers, PRIME, weights)
    if number >= 2 ** (8 * SECRET_BYTES):
        raise ProtocolError("the shares give no secret of 32 bytes: one of them was altered, or they are too few")
    return number.to_bytes(SECRET_BYTES, "big")


def read_share(share: bytes) -> int:
    """Return a share as a number below the prime.

    Raises:
        ProtocolError: it has another length, or is no such number.
    """
    number = int.from_bytes(share, "big")
    if len(share) != SHARE_BYTES or number >= PRIME:
        raise ProtocolError(f"a share of {len(share)} bytes is no number of {SHARE_BYTES} bytes below the prime")
    return number


def split_number(secret: int, threshold: int, points: Sequence[int], prime: int) -> dict[int, int]:
    """Return the values of a random polynomial, whose value at 0 is the secret, at distinct points below the prime."""
    assert 0 <= secret < prime
    assert 1 <= threshold <= len(set(points)) == len(points)
    assert all(0 < point < prime for point in points)
    coefficients = [secret, *(secrets.randbelow(prime) for _ in range(threshold - 1))]
    return {point: evaluate(coefficients, point, prime) for point in points}


def combine_numbers(shares: Mapping[int, int], prime: int, weights: Mapping[int, int] | None = None) -> int:
    """Return the value at 0 of the polynomial of lowest degree through the shares; Lagrange's interpolation."""
    weights = weights_at_zero(list(shares), prime) if weights is None else weights
    return sum(weights[point] * value for point, value in shares.items()) % prime


def weights_at_zero(points: Sequence[int], prime: int = PRIME) -> dict[int, int]:
    """Return by how much the value at each point counts for that at 0: the product of p / (p - point) over others p."""
    weights = {}
    for point in points:
        above = below = 1
        for other in points:
            if other != point:
                above, below = above * other % prime, below * (other - point) % prime
        weights[point] = above * pow(below, -1, prime) % prime
    return weights


def evaluate(coefficients: Sequence[int], point: int, prime: int) -> int:
    """Return a polynomial's value at a point by Horner's rule; the constant coefficient comes first."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * point + coefficient) % prime
    return value
