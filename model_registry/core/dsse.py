"""Signed documents: a DSSE envelope with ECDSA P-256 signatures, verified with the machine's own openssl.

`verify` returns the exact payload bytes that a known key signed, and which key that was; only those bytes may be
parsed. Keys are PEM files named by the sha256 of their SubjectPublicKeyInfo, so that a file cannot pose as another key.
"""

from __future__ import annotations

import base64
import binascii
import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, dump, parse
from model_registry.core.errors import UntrustedError, UsageError

OPENSSL = "/usr/bin/openssl"
MAX_ENVELOPE_BYTES = 131_072
# The fixed head of a P-256 SubjectPublicKeyInfo; openssl would take other curves as well.
_P256_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_P256_BYTES = 91


@dataclass(frozen=True)
class Key:
    """A public key file; `id` is the sha256 of its SPKI."""

    id: Digest
    path: Path


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed (DSSE pre-authentication encoding)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def envelope(payload_type: str, payload: bytes, signatures: Iterable[tuple[Digest, bytes]]) -> bytes:
    """Assemble an envelope from DER signatures over `pae(payload_type, payload)`."""
    entries = [{"keyid": key.hex, "sig": base64.b64encode(signature).decode()} for key, signature in signatures]
    return dump({"payload": base64.b64encode(payload).decode(), "payloadType": payload_type, "signatures": entries})


def key_id(pem: bytes, what: str) -> Digest:
    """The sha256 of a PEM public key's SPKI. Raises UsageError when it is not a P-256 public key."""
    lines = pem.decode("ascii", "replace").strip().splitlines()
    if len(lines) < 3 or lines[0] != "-----BEGIN PUBLIC KEY-----" or lines[-1] != "-----END PUBLIC KEY-----":
        raise UsageError(f"{what}: not a PEM public key")
    der = _decode("".join(lines[1:-1]), what)
    if len(der) != _P256_BYTES or not der.startswith(_P256_PREFIX):
        raise UsageError(f"{what}: not an ECDSA P-256 key; make one with `homeport keys generate`")
    return Digest.of(der)


def trusted_keys(folder: Path) -> tuple[Key, ...]:
    """The keys that a machine trusts.

    Raises UntrustedError when a file's name is not its key's digest, or there is none.
    """
    keys = []
    for path in sorted(folder.glob("*.pub")):
        identity = key_id(path.read_bytes(), str(path))
        if path.name != f"{identity.hex}.pub":
            raise UntrustedError(f"{path}: holds the key {identity.hex[:12]}; install keys with the role `device`")
        keys.append(Key(identity, path))
    if not keys:
        raise UntrustedError(
            f"{folder}: no public key installed, so nothing can be trusted; install one with the role `device`"
        )
    return tuple(keys)


def _decode(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"{what}: not base64 ({error})") from error


def _verified_by(key: Key, signature: bytes, signed: bytes) -> bool:
    reading, writing = os.pipe()
    try:
        os.write(writing, signature[:4096])
        os.close(writing)
        argv = [OPENSSL, "dgst", "-sha256", "-verify", str(key.path), "-signature", f"/dev/fd/{reading}"]
        done = subprocess.run(
            argv, input=signed, pass_fds=(reading,), env={}, capture_output=True, timeout=10, check=False
        )
    finally:
        os.close(reading)
    return done.returncode == 0 and done.stdout.strip() == b"Verified OK"


def read_payload(data: bytes, payload_type: str, what: str) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Take an envelope apart without trusting it: payload and (key id, signature) pairs. Raises UsageError."""
    reader = Reader(parse(data, what, MAX_ENVELOPE_BYTES), what)
    if (found := reader.text("payloadType")) != payload_type:
        raise UntrustedError(f"{what}: signed as {found}, not as {payload_type}")
    payload = _decode(reader.text("payload"), f"{what}.payload")
    signatures = list(
        reader.objects("signatures", lambda each: (each.text("keyid"), _decode(each.text("sig"), f"{each.path}.sig")))
    )
    reader.done()
    if not signatures or len(signatures) > 8:
        raise UntrustedError(f"{what}: carries {len(signatures)} signatures, expected 1 to 8")
    return payload, signatures


def verify(data: bytes, payload_type: str, keys: Iterable[Key], what: str) -> tuple[bytes, Digest]:
    """Return the payload of an envelope and the id of the one of `keys` that signed it. Raises UntrustedError."""
    payload, signatures = read_payload(data, payload_type, what)
    signed = pae(payload_type, payload)
    known = {key.id.hex: key for key in keys}
    for identity, signature in signatures:
        key = known.get(identity)
        if key is not None and _verified_by(key, signature, signed):
            return payload, key.id
    names = ", ".join(identity[:12] for identity, _ in signatures)
    raise UntrustedError(
        f"{what}: no valid signature by a key this machine trusts (signed by {names}); check who signed it, or install "
        "that key with the role `device`"
    )
