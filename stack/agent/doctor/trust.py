"""The doctor's lines about what this robot believes: `keys` that sign, and what is `revoked`."""

from __future__ import annotations

from pathlib import Path

from model_registry.core import dsse
from model_registry.core.errors import HomeportError
from model_registry.core.layout import linked_release
from stack.agent.disk.revocations import Revocations, revoked_here
from stack.agent.disk.store import verify_staged
from stack.agent.disk.trusting import trust_of
from stack.agent.doctor.examine import Doubt, Patient


def keys(patient: Patient) -> str:
    """Which keys sign here, which are retired, and whether what is committed is proved by one."""
    layout = patient.layout
    if not Path(dsse.OPENSSL).exists():
        raise HomeportError(
            f"{dsse.OPENSSL}: not there, and signatures are checked with it; install the package openssl"
        )
    trust = trust_of(layout)
    if not trust.keys:
        raise dsse.no_keys(layout.keys, trust.broken)
    text = f"{len(trust.keys)} trusted"
    if trust.number:
        text += f" by trust document {trust.number}, of which {trust.threshold} must sign"
    if trust.retired:
        text += f", {len(trust.retired)} retired"
    if (current := linked_release(layout.current)) is not None:
        verify_staged(layout, current)
        text += ", and the committed release is signed by one"
    if trust.broken:
        raise Doubt(f"{text}; not usable: {'; '.join(trust.broken)}; apply the role `device`, or remove the file")
    return text


def revoked(patient: Patient) -> str:
    """Whether this robot stands on something that nobody may go to any more."""
    if found := revoked_here(patient.layout):
        named = ", ".join(f"{name} {digest.short}" for name, (digest, _) in found.items())
        raise Doubt(f"revoked, and nobody goes to it any more: {named}; deploy another release, and pin it as fallback")
    return f"{len(Revocations.load(patient.layout).releases)} known, and this robot stands on none of them"
