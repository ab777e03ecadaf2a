"""Signed documents: a DSSE envelope with ECDSA P-256 signatures, verified with the machine's own openssl.

`verify` returns the exact payload bytes that enough known keys signed, and which keys these were; only those bytes may
be parsed. Keys are PEM files named by the sha256 of their SubjectPublicKeyInfo, so that a file cannot pose as another
key. Who is trusted with what is in trust.py.
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
from model_registry.core.errors import HomeportError, UntrustedError, UsageError

OPENSSL = "/usr/bin/openssl"
MAX_ENVELOPE_BYTES = 131_072
# The fixed head of a P-256 SubjectPublicKeyInfo; openssl would take other curves as well.
_P256_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
_P256_BYTES = 91
_MOST_KEY_BYTES = 4096
MOST_SIGNATURES = 8


@dataclass(frozen=True)
class Key:
    """A public key; `id` is the sha256 of its SPKI, `pem` the file that it was read from."""

    id: Digest
    pem: bytes


@dataclass(frozen=True)
class KeyFolder:
    """The keys of a folder. `broken` has a sentence for each file that holds none that could be used."""

    keys: tuple[Key, ...]
    broken: tuple[str, ...]


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


def read_keys(folder: Path) -> KeyFolder:
    """The keys in a folder's files `<64 hex>.pub`; a file that is damaged, or has another key's name, is only named."""
    keys: list[Key] = []
    broken: list[str] = []
    for path in sorted(folder.glob("*.pub")):
        try:
            keys.append(_read_key(path))
        except HomeportError as error:
            broken.append(str(error))
    return KeyFolder(tuple(keys), tuple(broken))


def _read_key(path: Path) -> Key:
    try:
        if not path.is_file() or path.stat().st_size > _MOST_KEY_BYTES:
            raise UsageError(f"{path}: not the file of a public key")
        pem = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    identity = key_id(pem, str(path))
    if path.name != f"{identity.hex}.pub":
        raise UntrustedError(f"{path}: holds the key {identity.hex[:12]}; install keys with the role `device`")
    return Key(identity, pem)


def trusted_keys(folder: Path) -> tuple[Key, ...]:
    """The keys that a publisher trusts: those in `folder`. Raises UntrustedError when none of its files holds one."""
    found = read_keys(folder)
    if not found.keys:
        raise no_keys(folder, found.broken)
    return found.keys


def no_keys(folder: Path, broken: tuple[str, ...]) -> UntrustedError:
    """What there is to say where nothing can be trusted."""
    files = "".join(f" ({each})" for each in broken[:1])
    return UntrustedError(
        f"{folder}: no public key installed, so nothing can be trusted{files}; install one with the role `device`"
    )


def _decode(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UsageError(f"{what}: not base64 ({error})") from error


def _verified_by(key: Key, signature: bytes, signed: bytes) -> bool:
    """Key and signature go through pipes, so that openssl reads what was checked here and no file is written."""
    pipes = []
    try:
        for data in (key.pem, signature[:_MOST_KEY_BYTES]):
            reading, writing = os.pipe()
            pipes.append(reading)
            os.write(writing, data)
            os.close(writing)
        public, given = (f"/dev/fd/{pipe}" for pipe in pipes)
        argv = [OPENSSL, "dgst", "-sha256", "-verify", public, "-signature", given]
        done = subprocess.run(argv, input=signed, pass_fds=pipes, env={}, capture_output=True, timeout=10, check=False)
    finally:
        for pipe in pipes:
            os.close(pipe)
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
    if not signatures or len(signatures) > MOST_SIGNATURES:
        raise UntrustedError(f"{what}: carries {len(signatures)} signatures, expected 1 to {MOST_SIGNATURES}")
    return payload, signatures


def verify(
    data: bytes, payload_type: str, keys: Iterable[Key], what: str, threshold: int = 1
) -> tuple[bytes, tuple[Digest, ...]]:
    """Return the payload of an envelope and the ids of those of `keys` that signed it, `threshold` at least.

    Two signatures by one key count once. Raises UntrustedError.
    """
    payload, signatures = read_payload(data, payload_type, what)
    signed = pae(payload_type, payload)
    known = {key.id.hex: key for key in keys}
    signers: dict[Digest, None] = {}
    for identity, signature in signatures:
        key = known.get(identity)
        if key is not None and key.id not in signers and _verified_by(key, signature, signed):
            signers[key.id] = None
        if len(signers) >= threshold:
            return payload, tuple(signers)
    names = ", ".join(identity[:12] for identity, _ in signatures)
    if signers:
        raise UntrustedError(
            f"{what}: {len(signers)} valid signatures, and {threshold} are needed (signed by {names}); have it signed "
            "by another of the keys that this machine trusts"
        )
    raise UntrustedError(
        f"{what}: no valid signature by a key this machine trusts (signed by {names}); check who signed it, or install "
        "that key with the role `device`"
    )
