"""Key agreement of two clients through a server that only carries their public keys: X25519, then HKDF-SHA256.

Keys are of one round only. All are 32 raw bytes, so that a client's state is plain arrays between messages; Python
cannot wipe them from memory.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedmetric.errors import ProtocolError

KEY_BYTES = 32


def new_private_key() -> bytes:
    """Draw an X25519 private key: 32 bytes."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_key_of(private_key: bytes) -> bytes:
    """Return the public key of a private one: 32 bytes."""
    return X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def agree(private_key: bytes, public_key: bytes, context: bytes) -> bytes:
    """Return the 32-byte key that the holders of two X25519 keys share for one purpose.

    Args:
        private_key: 32 bytes, of one of the two.
        public_key: 32 bytes, of the other.
        context: what the key is for; keys of different contexts are independent. See `Terms.context`.

    Raises:
        ProtocolError: the public key is one of the few with which every private key gives zero.
    """
    try:
        shared = X25519PrivateKey.from_private_bytes(private_key).exchange(
            X25519PublicKey.from_public_bytes(public_key)
        )
    except ValueError as error:
        raise ProtocolError(f"no key can be agreed on with the public key {public_key.hex()}: {error}") from error
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=context).derive(shared)
