"""Seal what one client sends to another through the server: its two secrets' shares for that client.

ChaCha20-Poly1305 with a random nonce. The paper writes sender and receiver into the plain text; here they are in the
key's context, with the terms, so that a sealed message cannot be opened as one of another pair, direction or round.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fedmetric.errors import ProtocolError
from fedmetric.privacy.secure.keys import agree
from fedmetric.privacy.secure.shamir import SHARE_BYTES
from fedmetric.privacy.secure.terms import Terms

NONCE_BYTES, TAG_BYTES = 12, 16
SEALED_BYTES = NONCE_BYTES + 2 * SHARE_BYTES + TAG_BYTES


@dataclass(frozen=True)
class Shares:
    """One holder's shares of the two secrets of a client, 33 bytes each."""

    mask_key: bytes
    self_seed: bytes


def seal(shares: Shares, terms: Terms, private_key: bytes, public_key: bytes, sender: int, receiver: int) -> bytes:
    """Seal shares for one receiver.

    Args:
        shares: what is sent.
        terms: those of the aggregation.
        private_key: share key of the sender, 32 bytes.
        public_key: share key of the receiver, 32 bytes.
        sender: whose secrets they are of.
        receiver: who may open it.

    Returns:
        94 bytes.

    Raises:
        ProtocolError: no key can be agreed on with that public key.
    """
    key = agree(private_key, public_key, _context(terms, sender, receiver))
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, shares.mask_key + shares.self_seed, None)


def unseal(sealed: bytes, terms: Terms, private_key: bytes, public_key: bytes, sender: int, receiver: int) -> Shares:
    """Open what `seal` returned, with the receiver's private key and the sender's public one.

    Raises:
        ProtocolError: it was altered, or sealed by or for another client, in another round or on other terms.
    """
    key = agree(private_key, public_key, _context(terms, sender, receiver))
    try:
        opened = ChaCha20Poly1305(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
    except (InvalidTag, ValueError) as error:
        raise ProtocolError(
            f"the shares from client {sender} for client {receiver} cannot be opened: altered, or not of round "
            f"{terms.round} of run '{terms.run}'"
        ) from error
    if len(opened) != 2 * SHARE_BYTES:
        raise ProtocolError(f"client {sender} sealed {len(opened)} bytes for client {receiver}, not two shares")
    return Shares(opened[:SHARE_BYTES], opened[SHARE_BYTES:])


def _context(terms: Terms, sender: int, receiver: int) -> bytes:
    return terms.context("shares", sender, receiver)
