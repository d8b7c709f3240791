"""Keys that two clients agree on, the masks expanded from them and the messages sealed with them."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fedmetric.errors import ProtocolError
from fedmetric.privacy.secure.keys import agree, new_private_key, public_key_of
from fedmetric.privacy.secure.masks import expand, pair_mask, pair_seed
from fedmetric.privacy.secure.sealing import SEALED_BYTES, Shares, seal, unseal
from fedmetric.privacy.secure.terms import Terms

TERMS = Terms("mine", 4, 10, 7, 100, 0.5)
ONE, OTHER, THIRD = (new_private_key() for _ in range(3))
SHARES = Shares(b"\x01" * 33, b"\x02" * 33)


def test_both_agree_on_the_key_that_hkdf_gives_by_hand() -> None:
    """RFC 5869 with SHA-256: extract under a salt of zeros, then one block, the first, of 32 bytes."""
    shared = X25519PrivateKey.from_private_bytes(ONE).exchange(X25519PublicKey.from_public_bytes(public_key_of(OTHER)))
    extracted = hmac.digest(bytes(32), shared, hashlib.sha256)
    expected = hmac.digest(extracted, b"context" + b"\x01", hashlib.sha256)
    assert agree(ONE, public_key_of(OTHER), b"context") == agree(OTHER, public_key_of(ONE), b"context") == expected


def test_keys_of_another_context_or_pair_differ() -> None:
    keys = [agree(ONE, public_key_of(other), context) for other in (OTHER, THIRD) for context in (b"a", b"b")]
    assert len(set(keys)) == 4


@pytest.mark.parametrize("public", [bytes(32), b"\x01" + bytes(31), bytes(31)])
def test_a_public_key_that_makes_every_secret_zero_is_refused(public: bytes) -> None:
    with pytest.raises(ProtocolError, match="no key can be agreed on"):
        agree(ONE, public, b"context")


def test_a_mask_is_the_key_stream_of_the_standard() -> None:
    """RFC 8439, appendix A.1, test vector 1: key, nonce and counter all zero."""
    stream = bytes.fromhex(
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    )
    assert expand(bytes(32), 16).tobytes() == np.frombuffer(stream, dtype="<u4").astype(np.uint32).tobytes()


def test_a_shorter_mask_begins_a_longer_one_and_other_seeds_share_nothing() -> None:
    assert expand(b"a" * 32, 1000)[:17].tolist() == expand(b"a" * 32, 17).tolist()
    assert (expand(b"a" * 32, 1000) == expand(b"b" * 32, 1000)).sum() == 0


def test_a_pair_expands_one_seed_and_its_masks_cancel() -> None:
    one, other = (
        pair_seed(TERMS, ONE, public_key_of(OTHER), 5, 3), pair_seed(TERMS, OTHER, public_key_of(ONE), 3, 5)
    )  # fmt: skip
    assert one == other
    added, taken = pair_mask(one, 100, 3, 5), pair_mask(one, 100, 5, 3)
    assert added.tolist() == expand(one, 100).tolist()
    assert not (added + taken).any()


def test_a_pairs_seed_is_of_one_round_run_and_pair() -> None:
    public = public_key_of(OTHER)
    seeds = [
        pair_seed(terms, ONE, public, 3, other)
        for terms in (TERMS, replace(TERMS, round=5), replace(TERMS, run="yours"))
        for other in (5, 6)
    ]
    assert len(set(seeds)) == 6


def test_sealed_shares_are_opened_by_the_receiver() -> None:
    sealed = seal(SHARES, TERMS, ONE, public_key_of(OTHER), 3, 5)
    assert len(sealed) == SEALED_BYTES == 94
    assert unseal(sealed, TERMS, OTHER, public_key_of(ONE), 3, 5) == SHARES


def test_the_same_shares_are_never_sealed_to_the_same_bytes() -> None:
    assert len({seal(SHARES, TERMS, ONE, public_key_of(OTHER), 3, 5) for _ in range(20)}) == 20


@pytest.mark.parametrize("place", [0, 11, 12, 50, 77, 78, 93])
def test_one_flipped_bit_is_noticed_wherever_it_is(place: int) -> None:
    sealed = bytearray(seal(SHARES, TERMS, ONE, public_key_of(OTHER), 3, 5))
    sealed[place] ^= 1
    with pytest.raises(ProtocolError, match="from client 3 for client 5 cannot be opened: altered"):
        unseal(bytes(sealed), TERMS, OTHER, public_key_of(ONE), 3, 5)


@pytest.mark.parametrize("length", [0, 5, 12, 27, 93])
def test_a_message_cut_short_is_refused(length: int) -> None:
    sealed = seal(SHARES, TERMS, ONE, public_key_of(OTHER), 3, 5)[:length]
    with pytest.raises(ProtocolError, match="cannot be opened"):
        unseal(sealed, TERMS, OTHER, public_key_of(ONE), 3, 5)


def test_a_message_does_not_open_as_another_rounds_pairs_or_directions() -> None:
    sealed = seal(SHARES, TERMS, ONE, public_key_of(OTHER), 3, 5)
    for terms, sender, receiver in (
        (replace(TERMS, round=5), 3, 5), (replace(TERMS, run="yours"), 3, 5), (TERMS, 5, 3), (TERMS, 3, 6)
    ):  # fmt: skip
        with pytest.raises(ProtocolError, match="cannot be opened"):
            unseal(sealed, terms, OTHER, public_key_of(ONE), sender, receiver)
    with pytest.raises(ProtocolError, match="cannot be opened"):
        unseal(sealed, TERMS, THIRD, public_key_of(ONE), 3, 5)


def test_a_seal_of_something_else_than_two_shares_is_refused() -> None:
    sealed = seal(Shares(b"", b"\x02" * 33), TERMS, ONE, public_key_of(OTHER), 3, 5)
    with pytest.raises(ProtocolError, match="client 3 sealed 33 bytes for client 5, not two shares"):
        unseal(sealed, TERMS, OTHER, public_key_of(ONE), 3, 5)
