"""A registry whose certificate is good, and not valid on the day that this machine's clock shows."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from model_registry.core.errors import UntrustedError
from model_registry.sources import open_source

ALWAYS = (-9000, 9000)


def certificate(
    name: str, issuer: str, key: ec.EllipticCurvePrivateKey, days: tuple[int, int]
) -> x509.CertificateBuilder:
    """A certificate from so many days on, counted from today, until so many days."""
    now = dt.datetime.now(dt.timezone.utc)
    subject, by = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer))
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(by).public_key(key.public_key())
    start, end = (now + dt.timedelta(days=each) for each in days)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)


def write(folder: Path, days: tuple[int, int], trusted_days: tuple[int, int] = ALWAYS) -> None:
    """`ca.pem`, and in `leaf.pem` the certificate and key of 127.0.0.1 that it signed."""
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    identity = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = certificate("ca", "ca", ca_key, trusted_days).add_extension(x509.BasicConstraints(True, None), True)
    ca = ca.add_extension(usage, True).add_extension(identity, False)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    leaf = certificate("leaf", "ca", key, days).add_extension(here, False)
    leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), False)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    (folder / "leaf.pem").write_bytes(leaf.sign(ca_key, hashes.SHA256()).public_bytes(pem) + secret)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The source that a server with this certificate is; its clients never come further than the greeting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "leaf.pem")
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("days", "trusted_days", "words"),
    [
        ((300, 600), ALWAYS, "is not valid yet by this machine's clock, which shows 2"),
        ((-600, -300), ALWAYS, "has expired by this machine's clock, which shows 2"),
        (ALWAYS, (300, 600), "is not valid yet by this machine's clock, which shows 2"),
    ],
    ids=["the clock is behind", "the clock is ahead", "the authority is younger than the clock"],
)
def test_a_certificate_that_is_not_valid_today_names_the_clock_and_not_the_authority(
    days: tuple[int, int], trusted_days: tuple[int, int], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, days, trusted_days)
    monkeypatch.setenv("HOMEPORT_CA_FILE", str(tmp_path / "ca.pem"))

    with serving(tmp_path) as url, pytest.raises(UntrustedError) as caught:
        open_source(url).repositories()

    assert words in str(caught.value) and "set the clock" in str(caught.value)
    assert "HOMEPORT_CA_FILE" not in str(caught.value)


def test_a_certificate_of_an_unknown_authority_still_names_the_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write(tmp_path, ALWAYS)
    write(other, ALWAYS)
    monkeypatch.setenv("HOMEPORT_CA_FILE", str(other / "ca.pem"))

    with (
        serving(tmp_path) as url,
        pytest.raises(UntrustedError, match=r"not trusted .* name its CA in HOMEPORT_CA_FILE"),
    ):
        open_source(url).repositories()
