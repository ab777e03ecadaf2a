"""Throw-away secrets of a bench: an authority with the registry's certificate, and the keys of ssh."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

REGISTRY_HOST = "registry.bench"
VALID = timedelta(days=30)


def write(folder: Path) -> None:
    """Make `ca.crt`, `registry.crt`, `registry.key`, and the ssh key pairs `operator` and `host`."""
    _certificates(folder)
    for name in ("operator", "host"):
        _ssh_key(folder / name)
    host = (folder / "host.pub").read_text()
    (folder / "known_hosts").write_text(f"homeport-bench {host}")


def _certificates(folder: Path) -> None:
    authority = ec.generate_private_key(ec.SECP256R1())
    ca = _certificate("Homeport bench CA", authority.public_key(), "Homeport bench CA", True).sign(
        authority, hashes.SHA256()
    )
    server = ec.generate_private_key(ec.SECP256R1())
    names = [x509.DNSName(REGISTRY_HOST), x509.DNSName("localhost")]
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    leaf = _certificate(REGISTRY_HOST, server.public_key(), "Homeport bench CA", False)
    leaf = leaf.add_extension(x509.SubjectAlternativeName([*names, address]), critical=False)
    leaf = leaf.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.public_key()), critical=False
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.crt").write_bytes(ca.public_bytes(pem))
    (folder / "registry.crt").write_bytes(leaf.sign(authority, hashes.SHA256()).public_bytes(pem))
    _private(folder / "registry.key", server, serialization.PrivateFormat.PKCS8)


def _certificate(
    subject: str, key: ec.EllipticCurvePublicKey, issuer: str, is_authority: bool
) -> x509.CertificateBuilder:
    now = datetime.now(timezone.utc)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALID)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _ssh_key(path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    _private(path, key, serialization.PrivateFormat.OpenSSH)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.with_name(f"{path.name}.pub").write_bytes(public + b" homeport-bench\n")


def _private(
    path: Path,
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey,
    kind: serialization.PrivateFormat,
) -> None:
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()))
