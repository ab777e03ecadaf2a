"""Key pairs for signing releases:

ECDSA P-256. The private key never belongs into a repository, so it is not written into one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_registry.core import dsse
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, parse
from model_registry.core.errors import NotFoundError, RefusedError, UsageError
from model_registry.core.files import Files
from model_registry.core.paths import at_home

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def generate(folder: Path, name: str) -> tuple[Path, Path]:
    """Write `NAME.key` (mode 0600) and `<64 hex>.pub` into `folder`; returns both paths.

    Raises RefusedError inside a repository or over a key.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"key name {name!r}: expected letters, digits, dots and dashes")
    refuse_repository(folder)
    private_path = folder / f"{name}.key"
    if private_path.exists() or private_path.is_symlink():
        raise RefusedError(f"{private_path}: exists, and keys are never overwritten; choose another --name")
    private = ec.generate_private_key(ec.SECP256R1())
    public = public_pem(private)
    public_path = folder / f"{dsse.key_id(public, 'new key').hex}.pub"
    files = Files()
    files.make_folder(folder, 0o700)
    pem = serialization.Encoding.PEM
    pkcs8 = serialization.PrivateFormat.PKCS8
    files.write(private_path, private.private_bytes(pem, pkcs8, serialization.NoEncryption()), 0o600)
    files.write(public_path, public)
    return private_path, public_path


def refuse_repository(folder: Path) -> None:
    """Raises RefusedError when `folder` is inside a git repository."""
    real = at_home(folder).resolve()
    for place in (real, *real.parents):
        if (place / ".git").exists():
            raise RefusedError(
                f"{folder}: inside the repository {place}, where keys get committed; choose another --out"
            )


def load(path: Path) -> ec.EllipticCurvePrivateKey:
    """Read a private key. Raises RefusedError when others can read the file, UsageError when it is not P-256."""
    try:
        data = path.read_bytes()
        mode = path.stat().st_mode
    except OSError as error:
        raise NotFoundError(
            f"{path}: no readable key ({error.strerror}); make one with `homeport keys generate`"
        ) from error
    if mode & 0o077 and os.name == "posix":
        raise RefusedError(f"{path}: other users can read this private key; run `chmod 600 {path}`")
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(
            f"{path}: not an unencrypted PEM private key; make one with `homeport keys generate`"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise UsageError(f"{path}: not an ECDSA P-256 key; make one with `homeport keys generate`")
    return key


def public_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public half as PEM."""
    pem = serialization.Encoding.PEM
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(pem, spki)


def identity(path: Path) -> Digest:
    """The id of a public key file: the sha256 of its SPKI. Raises NotFoundError or UsageError."""
    try:
        return dsse.key_id(path.read_bytes(), str(path))
    except OSError as error:
        raise NotFoundError(f"{path}: no readable public key ({error.strerror})") from error


def sign(payload_type: str, payload: bytes, *keys: ec.EllipticCurvePrivateKey) -> bytes:
    """A DSSE envelope.

    The same payload and keys give the same bytes (RFC 6979), so that publishing twice changes nothing.
    """
    return dsse.envelope(payload_type, payload, [_signature(payload_type, payload, key) for key in keys])


def cosign(envelope: bytes, key: ec.EllipticCurvePrivateKey, what: str) -> bytes:
    """The envelope with one more signature, by another holder of a key; the same again changes nothing."""
    payload_type = Reader(parse(envelope, what, dsse.MAX_ENVELOPE_BYTES), what).text("payloadType")
    payload, given = dsse.read_payload(envelope, payload_type, what)
    mine, signature = _signature(payload_type, payload, key)
    others = [(Digest(identity), data) for identity, data in given if identity != mine.hex]
    if len(others) >= dsse.MOST_SIGNATURES:
        raise RefusedError(f"{what}: carries {len(others)} signatures, which is as many as are read; sign it anew")
    return dsse.envelope(payload_type, payload, [*others, (mine, signature)])


def _signature(payload_type: str, payload: bytes, key: ec.EllipticCurvePrivateKey) -> tuple[Digest, bytes]:
    signature = key.sign(dsse.pae(payload_type, payload), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    return dsse.key_id(public_pem(key), "signing key"), signature
