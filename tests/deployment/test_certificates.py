"""Certificates as TLS takes them or not, in a real handshake, and signatures of nodes' keys."""

from __future__ import annotations

import argparse
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from flwr.supernode.cli.flower_supernode import _try_setup_client_authentication

from fedmetric.deployment.certificates import (
    Pair,
    fingerprint,
    is_issued_by,
    is_signed,
    new_authority,
    new_node_key,
    new_server,
    public_key_of,
    read_certificate,
    sign,
)
from fedmetric.errors import UsageError

ALMOST_AN_HOUR = 59 / 60 / 24
"""Days; certificates begin an hour ago, so one that ended this long ago did so after it began."""

Handshake = Callable[..., str]


@pytest.fixture(scope="module")
def authority() -> Pair:
    return new_authority("clinics")


@pytest.fixture
def handshake(tmp_path: Path) -> Handshake:
    """Return a function that lets a server show a certificate, and a client who trusts an authority read a word."""

    def shake(server: Pair, trusted: bytes, name: str = "127.0.0.1", chain: bytes = b"") -> str:
        for file, content in {"server.pem": server.certificate + chain, "key": server.key, "trusted": trusted}.items():
            (tmp_path / file).write_bytes(content)
        shows = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        shows.load_cert_chain(tmp_path / "server.pem", tmp_path / "key")
        trusts = ssl.create_default_context(cafile=str(tmp_path / "trusted"))
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def answer() -> None:
                link, _ = listener.accept()
                link.settimeout(10)
                try:
                    with shows.wrap_socket(link, server_side=True) as safe:
                        safe.sendall(b"welcome")
                except OSError:  # the client hung up
                    link.close()

            thread = threading.Thread(target=answer, daemon=True)
            thread.start()
            try:
                with (
                    socket.create_connection(listener.getsockname(), timeout=10) as link,
                    trusts.wrap_socket(link, server_hostname=name) as safe,
                ):
                    return safe.recv(100).decode()
            finally:
                thread.join()

    return shake


@pytest.mark.parametrize("name", ["clinic.example", "192.0.2.7", "127.0.0.1", "localhost", "::1"])
def test_a_client_that_trusts_the_authority_takes_the_server_under_each_of_its_names(
    name: str, authority: Pair, handshake: Handshake
) -> None:
    server = new_server(authority, ["clinic.example", "192.0.2.7"])
    assert handshake(server, authority.certificate, name) == "welcome"


@pytest.mark.parametrize("name", ["elsewhere.example", "192.0.2.8"])
def test_a_server_under_another_name_is_refused(name: str, authority: Pair, handshake: Handshake) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch, certificate is not valid for"):
        handshake(new_server(authority, ["clinic.example"]), authority.certificate, name)


def test_a_server_of_another_authority_is_refused_though_it_has_the_same_name(
    authority: Pair, handshake: Handshake
) -> None:
    impostor = new_server(new_authority("clinics"), ["clinic.example"])
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer certificate|signature failure"):
        handshake(impostor, authority.certificate)


def test_an_expired_server_is_refused(authority: Pair, handshake: Handshake) -> None:
    expired = new_server(authority, ["clinic.example"], days=-ALMOST_AN_HOUR)  # type: ignore[arg-type]
    assert read_certificate(expired.certificate).days_left() < 0
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        handshake(expired, authority.certificate)


def test_a_server_of_an_expired_authority_is_refused(handshake: Handshake) -> None:
    authority = new_authority("clinics", days=-ALMOST_AN_HOUR)  # type: ignore[arg-type]
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate has expired"):
        handshake(new_server(authority, ["clinic.example"]), authority.certificate)


def test_the_holder_of_a_servers_key_cannot_vouch_for_other_servers(authority: Pair, handshake: Handshake) -> None:
    server = new_server(authority, ["clinic.example"])
    below = new_server(server, ["other.example"])
    with pytest.raises(ssl.SSLCertVerificationError, match="invalid CA certificate"):
        handshake(below, authority.certificate, chain=server.certificate)


def test_a_certificate_says_for_which_hosts_it_is_and_until_when(authority: Pair) -> None:
    facts = read_certificate(new_server(authority, ["clinic.example", "192.0.2.7", "localhost"], days=30).certificate)
    assert sorted(facts.hosts) == ["127.0.0.1", "192.0.2.7", "::1", "clinic.example", "localhost"]
    assert 29.9 < facts.days_left() <= 30
    assert facts.days_left(facts.ends + timedelta(days=2)) == -2
    assert timedelta(minutes=59) < datetime.now(UTC) - facts.begins < timedelta(minutes=61)
    assert read_certificate(authority.certificate).hosts == ()


def test_a_host_name_longer_than_a_subject_may_be_is_kept_whole(authority: Pair) -> None:
    name = "a" * 60 + ".clinic.example"
    assert name in read_certificate(new_server(authority, [name]).certificate).hosts


@pytest.mark.parametrize("host", ["", "clinic.example:9443", "https://clinic.example", "a b", "a..b", "*.example", "ä"])
def test_what_is_neither_name_nor_address_is_refused(host: str, authority: Pair) -> None:
    with pytest.raises(UsageError, match="is neither a host name nor an IP address; give it without port"):
        new_server(authority, ["clinic.example", host])


def test_a_server_without_a_host_is_refused(authority: Pair) -> None:
    with pytest.raises(UsageError, match="needs a host name or IP address by which the sites reach"):
        new_server(authority, [])


def test_who_issued_a_certificate_is_told_by_its_signature_alone(authority: Pair) -> None:
    server = new_server(authority, ["clinic.example"]).certificate
    assert is_issued_by(server, authority.certificate)
    assert not is_issued_by(server, new_authority("clinics").certificate)
    assert not is_issued_by(authority.certificate, server)
    assert not is_issued_by(b"garbage", authority.certificate)


def test_a_fingerprint_is_64_hex_digits_and_differs_between_authorities(authority: Pair) -> None:
    assert len(bytes.fromhex(fingerprint(authority.certificate))) == 32
    assert fingerprint(authority.certificate) != fingerprint(new_authority("clinics").certificate)


def test_what_is_no_certificate_is_refused() -> None:
    with pytest.raises(UsageError, match="this is no PEM certificate"):
        read_certificate(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def test_a_node_key_is_what_flowers_supernode_reads(tmp_path: Path) -> None:
    (tmp_path / "node.key").write_bytes(new_node_key())
    given = argparse.Namespace(auth_supernode_private_key=str(tmp_path / "node.key"), auth_supernode_public_key=None)
    found = _try_setup_client_authentication(given)
    assert found is not None
    assert isinstance(found[0].curve, ec.SECP384R1)
    public = found[1].public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert public_key_of((tmp_path / "node.key").read_bytes()) == public


def test_a_signature_holds_for_one_key_and_one_message() -> None:
    key, other = new_node_key(), new_node_key()
    signature = sign(key, b"hello")
    assert is_signed(public_key_of(key), b"hello", signature)
    assert not is_signed(public_key_of(key), b"hello!", signature)
    assert not is_signed(public_key_of(other), b"hello", signature)
    assert not is_signed(public_key_of(key), b"hello", signature[:-1] + bytes([signature[-1] ^ 1]))


@pytest.mark.parametrize("garbage", [b"", b"\xff\x00", b"garbage" * 1000])
def test_garbage_is_no_signature_and_no_key(garbage: bytes) -> None:
    key = new_node_key()
    assert not is_signed(public_key_of(key), b"hello", garbage)
    assert not is_signed(garbage, b"hello", sign(key, b"hello"))
    assert not is_signed(key, b"hello", sign(key, b"hello"))


def test_keys_of_other_kinds_are_refused_though_their_signatures_are_right() -> None:
    short, long = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP521R1())
    numbers, edwards = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
    signed: list[tuple[Any, bytes]] = [
        (short.public_key(), short.sign(b"hello", ec.ECDSA(hashes.SHA256()))),
        (long.public_key(), long.sign(b"hello", ec.ECDSA(hashes.SHA256()))),
        (numbers.public_key(), numbers.sign(b"hello", padding.PKCS1v15(), hashes.SHA256())),
        (edwards.public_key(), edwards.sign(b"hello")),
    ]
    for key, signature in signed:
        pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        assert not is_signed(pem, b"hello", signature)
