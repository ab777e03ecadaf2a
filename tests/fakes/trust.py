"""Keys of a site, what they sign, and a robot's folders that trust some of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from model_registry import keys
from model_registry.core import channel, dsse, release, trust
from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from model_registry.core.layout import Layout
from tests.fakes.schemas import check

LEADS_TO = f"sha256:{'6' * 64}"


class Signer:
    """A key pair; `public` is the file of its public half."""

    def __init__(self, private: ec.EllipticCurvePrivateKey | None = None) -> None:
        self.private = private or ec.generate_private_key(ec.SECP256R1())
        self.public = keys.public_pem(self.private)
        self.id = dsse.key_id(self.public, "key")
        self.file = f"{self.id.hex}.pub"

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        return self.private.sign(dsse.pae(payload_type, payload), ec.ECDSA(hashes.SHA256()))

    def install(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.file
        path.write_bytes(self.public)
        return path


def envelope(payload_type: str, payload: bytes, *signers: Signer) -> bytes:
    signatures = [(signer.id, signer.sign(payload_type, payload)) for signer in signers]
    return dsse.envelope(payload_type, payload, signatures)


def trust_document(
    number: int, by: Sequence[Signer], to: Sequence[Signer], threshold: int = 1, **more: object
) -> bytes:
    """A trust document that `by` have signed, after which `to` sign."""
    pems = [signer.public.decode() for signer in sorted(to, key=lambda signer: signer.id)]
    fields = {"schema": 1, "number": number, "threshold": threshold, "keys": pems, **more}
    check(fields, "trust")
    return envelope(trust.PAYLOAD_TYPE, dump(fields), *by)


def record(seq: int, *by: Signer, **more: object) -> bytes:
    """A channel record of pilot:stable."""
    fields: dict[str, Any] = {"schema": 1, "name": "pilot", "channel": "stable", "seq": seq, "digest": LEADS_TO}
    fields |= {"expires": "2120-01-01", "min_version": "0.0.0", "revoked": [], **more}
    return envelope(channel.PAYLOAD_TYPE, dump(fields), *by)


def signed_release(payload: bytes, *by: Signer) -> tuple[Digest, bytes]:
    return Digest.of(payload), envelope(release.PAYLOAD_TYPE, payload, *by)


def robot_that_trusts(folder: Path, *signers: Signer) -> Layout:
    """Folders of a robot, and no agent."""
    layout = Layout.at(folder)
    for signer in signers:
        signer.install(layout.keys)
    return layout
