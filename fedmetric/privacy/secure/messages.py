"""What clients send in a secure aggregation, as plain values that any transport can carry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fedmetric.errors import ProtocolError
from fedmetric.privacy.secure.keys import KEY_BYTES
from fedmetric.privacy.secure.terms import Terms

Sign = Callable[[bytes], bytes]
"""Signs a message with the client's registered identity."""
Verify = Callable[[int, bytes, bytes], bool]
"""Says whether (client, message, signature) was signed by the identity registered for that client; False for a client
that is not registered."""


@dataclass(frozen=True)
class Advertisement:
    """A client's public keys for one round.

    Attributes:
        client: its number.
        share_key: X25519 public key for sealing shares, 32 bytes.
        mask_key: X25519 public key for pairwise masks, 32 bytes.
        signature: its identity's, over the terms, its number and both keys.
    """

    client: int
    share_key: bytes
    mask_key: bytes
    signature: bytes


@dataclass(frozen=True)
class Unmasking:
    """A client's shares that unmask the sum, 33 bytes each: one secret of every client, never both.

    Attributes:
        self_seeds: shares of the self-mask seeds of the survivors.
        mask_keys: shares of the mask keys of the dropped.
    """

    self_seeds: Mapping[int, bytes]
    mask_keys: Mapping[int, bytes]


def advertise(terms: Terms, client: int, share_key: bytes, mask_key: bytes, sign: Sign) -> Advertisement:
    """Sign a client's public keys."""
    return Advertisement(client, share_key, mask_key, sign(_signed(terms, client, share_key, mask_key)))


def check_advertisement(terms: Terms, advertisement: Advertisement, verify: Verify) -> None:
    """Refuse keys that are none, or that the client's registered identity did not sign for these terms.

    Raises:
        ProtocolError: names the client.
    """
    client, keys = advertisement.client, (advertisement.share_key, advertisement.mask_key)
    if any(len(key) != KEY_BYTES for key in keys):
        raise ProtocolError(f"client {client} advertised keys of {[len(key) for key in keys]} bytes, not {KEY_BYTES}")
    if not verify(client, _signed(terms, client, *keys), advertisement.signature):
        raise ProtocolError(
            f"the keys of client {client} are not signed by its registered identity for round {terms.round} of run "
            f"'{terms.run}': forged, swapped, of other terms, or of another round"
        )


def _signed(terms: Terms, client: int, share_key: bytes, mask_key: bytes) -> bytes:
    return terms.context(f"keys {share_key.hex()} {mask_key.hex()}", client)
