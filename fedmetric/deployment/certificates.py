"""A certificate authority of one's own, and the server's certificate.

Sites trust this authority and no other, so no public one can be made to vouch for somebody else's server. Keys are EC
P-384, as Flower's node keys are.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedmetric.errors import UsageError

AUTHORITY_DAYS, SERVER_DAYS = 3650, 397
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Named in every server certificate, for the processes of the server's own machine."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def new_node_key() -> bytes:
    """Draw an EC P-384 private key in the format that Flower's SuperNode reads: OpenSSH, not encrypted."""
    return ec.generate_private_key(ec.SECP384R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def public_key_of(private_key: bytes) -> bytes:
    """Return the public key of a private one: PEM, SubjectPublicKeyInfo."""
    return (
        _key(private_key)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def sign(private_key: bytes, message: bytes) -> bytes:
    """Sign a message: ECDSA with SHA-256."""
    return _key(private_key).sign(message, ec.ECDSA(hashes.SHA256()))


def is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether the holder of a P-384 key signed a message; false too for what is no such key."""
    try:
        key = serialization.load_pem_public_key(public_key)
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
            return False
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        return True
    except Exception:  # the library raises errors of many classes for bytes that are no key or no signature
        return False


def new_authority(name: str, days: int = AUTHORITY_DAYS) -> Pair:
    """Make a certificate authority that may sign servers and nothing below them."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _named(f"fedmetric authority of {name}")
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    built = (
        _builder(subject, subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA384())
    )
    return Pair(built.public_bytes(serialization.Encoding.PEM), _pem_of(key))


def new_server(authority: Pair, hosts: Sequence[str], days: int = SERVER_DAYS) -> Pair:
    """Make a server's certificate, signed by the authority.

    Args:
        authority: certificate and key of the authority.
        hosts: names and IP addresses by which sites reach the server; the machine's own are added.
        days: until it expires; it is valid from an hour ago, for clocks that are behind.

    Raises:
        UsageError: no host is given, or one is neither a name nor an address.
    """
    names = alternative_names(hosts)
    signer = x509.load_pem_x509_certificate(authority.certificate)
    key = ec.generate_private_key(ec.SECP384R1())
    signer_key = signer.public_key()
    assert isinstance(signer_key, ec.EllipticCurvePublicKey)
    built = (
        _builder(_named(hosts[0][:64]), signer.subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key), critical=False)
        .sign(_key(authority.key), hashes.SHA384())
    )
    return Pair(built.public_bytes(serialization.Encoding.PEM), _pem_of(key))


def alternative_names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    """Turn hosts into what a certificate says of them, the machine's own names included.

    Raises:
        UsageError: no host is given, or one is neither a name nor an address.
    """
    if not hosts:
        raise UsageError("a server certificate needs a host name or IP address by which the sites reach the server")
    return [_general_name(host) for host in dict.fromkeys([*hosts, *LOOPBACK])]


def fingerprint(certificate: bytes) -> str:
    """Return the SHA-256 of a PEM certificate as 64 hex digits, to be compared over another way than the invite's."""
    return x509.load_pem_x509_certificate(certificate).fingerprint(hashes.SHA256()).hex()


@dataclass(frozen=True)
class Facts:
    """What a certificate says: the hosts it is for, and from when to when (UTC) it is valid."""

    hosts: tuple[str, ...]
    begins: datetime
    ends: datetime

    def days_left(self, now: datetime | None = None) -> float:
        """Return the days until it expires; negative after."""
        return (self.ends - (now or datetime.now(UTC))) / timedelta(days=1)


def read_certificate(certificate: bytes) -> Facts:
    """Read a PEM certificate.

    Raises:
        UsageError: it is none.
    """
    try:
        found = x509.load_pem_x509_certificate(certificate)
        named = [extension.value for extension in found.extensions]
        return Facts(tuple(_hosts(named)), found.not_valid_before_utc, found.not_valid_after_utc)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise UsageError(f"this is no PEM certificate: {error}") from error


def _hosts(extensions: Iterable[x509.ExtensionType]) -> list[str]:
    names = [extension for extension in extensions if isinstance(extension, x509.SubjectAlternativeName)]
    hosts = [host for found in names for host in found.get_values_for_type(x509.DNSName)]
    return hosts + [str(address) for found in names for address in found.get_values_for_type(x509.IPAddress)]


def is_issued_by(certificate: bytes, authority: bytes) -> bool:
    """Return whether an authority signed a certificate; both PEM."""
    try:
        x509.load_pem_x509_certificate(certificate).verify_directly_issued_by(x509.load_pem_x509_certificate(authority))
        return True
    except Exception:  # InvalidSignature, ValueError and TypeError all say no
        return False


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not host or not all(part.isascii() and part.replace("-", "").isalnum() for part in host.split(".")):
            raise UsageError(f"'{host}' is neither a host name nor an IP address; give it without port") from None
        return x509.DNSName(host)


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    ssh = pem.startswith(b"-----BEGIN OPENSSH")
    key = (serialization.load_ssh_private_key if ssh else serialization.load_pem_private_key)(pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
