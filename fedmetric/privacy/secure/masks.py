"""Masks that hide a vector: as long as it, uniform to whoever lacks their seed, and expanded from 32 bytes.

A pair's two clients expand the same seed; the one with the lower number adds the mask and the other subtracts it, so
that it vanishes from their sum. Numbers are unsigned 32-bit and wrap around.
"""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray

from fedmetric.privacy.secure.keys import agree
from fedmetric.privacy.secure.terms import Terms

SEED_BYTES = 32
_NONCE = bytes(16)  # a seed is expanded into one mask only, so its key stream is never used twice


def expand(seed: bytes, length: int) -> NDArray[np.uint32]:
    """Expand a seed into a mask: the ChaCha20 key stream from block 0 under a zero nonce, as little-endian words.

    Args:
        seed: 32 bytes.
        length: numbers in the mask.

    Returns:
        (N,) uint32.
    """
    stream = Cipher(algorithms.ChaCha20(seed, _NONCE), mode=None).encryptor().update(bytes(4 * length))
    return np.frombuffer(stream, dtype="<u4").astype(np.uint32, copy=False)


def pair_seed(terms: Terms, private_key: bytes, public_key: bytes, client: int, other: int) -> bytes:
    """Return the seed of a pair's mask: 32 bytes, the same for both.

    Args:
        terms: those of the aggregation.
        private_key: mask key of `client`, 32 bytes.
        public_key: mask key of `other`, 32 bytes.
        client: one of the two.
        other: the other.

    Raises:
        ProtocolError: no key can be agreed on with that public key.
    """
    return agree(private_key, public_key, terms.context("mask of a pair", *sorted((client, other))))


def pair_mask(seed: bytes, length: int, client: int, other: int) -> NDArray[np.uint32]:
    """Return what `client` adds to its vector for the pair; what `other` adds is its negative modulo 2^32.

    Args:
        seed: that of the pair.
        length: numbers in the mask.
        client: the one who adds.
        other: the other of the pair.

    Returns:
        (N,) uint32.
    """
    mask = expand(seed, length)
    return mask if client < other else np.negative(mask)
