"""What somebody may try who can publish, answer for the registry or reach the robot's socket, against a real agent.

Each attack has the name of its counterpart among python-tuf's client tests where there is one. It is tried on a robot
that drives a good release; the robot has to refuse it, and goes on as it was. `ATTACKS` is what the tests play by name
and the bench `registry_attacks` counts.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from model_registry.core import channel, dsse, release, trust
from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from tests.fakes.rig import Answer, Rig
from tests.fakes.trust import Signer, envelope, record, trust_document

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of the curve P-256."""
LATEST = 100
"""Number of the newest channel record that the robot has seen."""


class AttackedRobot:
    """A robot with two committed releases, which knows a channel record and a trust document."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.good, self.evil, self.retired = Signer(rig.key), Signer(), Signer()
        self.first = rig.publish("1.0.0", change=lambda fields: fields.update(counter=5, minimum_counter=5))
        self.driving = rig.publish("1.1.0", change=lambda fields: fields.update(counter=6, minimum_counter=5))
        for each in (self.first, self.driving):
            assert rig.deploy(each).code == 0
        self._versions = iter(range(1, 10_000))
        self.revoked = self.publish("0.9.0")
        assert self.tell(record(LATEST, self.good, revoked=[self.revoked])).code == 0
        self.retired.install(rig.layout.keys / "retired")
        assert self.trust(trust_document(5, [self.good], [self.good])).code == 0

    def publish(self, version: str | None = None, **fields: Any) -> str:
        change = {"counter": 9, "minimum_counter": 5, **fields}
        return self.rig.publish(version or f"2.0.{next(self._versions)}", change=lambda each: each.update(change))

    def spoiled(self, spoil: Callable[[bytes], bytes]) -> Answer:
        """Stage a release whose signed document was spoiled where it lies."""
        digest = self.publish()
        path = self.rig.source / "releases" / digest[7:] / "release.dsse.json"
        path.write_bytes(spoil(path.read_bytes()))
        return self.rig.run("stage", digest)

    def signed(self, sign: Callable[[bytes], bytes]) -> Answer:
        """Stage a release whose payload somebody signed in another way: `sign` gives the whole envelope."""
        return self.spoiled(lambda data: sign(_payload(data)))

    def raw(self, signature: bytes, keyid: Digest | None = None) -> Answer:
        """Stage a release with these bytes for a signature."""
        keyid = keyid or self.good.id
        return self.signed(lambda payload: dsse.envelope(release.PAYLOAD_TYPE, payload, [(keyid, signature)]))

    def document(self, spoil: Callable[[dict[str, Any]], Any]) -> Answer:
        """Stage what a trusted key has signed although it is no good release."""

        def sign(payload: bytes) -> bytes:
            found = spoil(json.loads(payload))
            data = found if isinstance(found, bytes) else json.dumps(found).encode()
            self._named = f"sha256:{Digest.of(data).hex}"
            return envelope(release.PAYLOAD_TYPE, data, self.good)

        digest = self.publish()
        folder = self.rig.source / "releases" / digest[7:]
        path = folder / "release.dsse.json"
        path.write_bytes(sign(_payload(path.read_bytes())))
        if not folder.with_name(self._named[7:]).exists():
            folder.rename(folder.with_name(self._named[7:]))
        return self.rig.run("stage", self._named)

    def with_high_s(self, data: bytes) -> bytes:
        """The same signature in its other form, which is as valid."""
        [entry] = json.loads(data)["signatures"]
        r, s = decode_dss_signature(base64.b64decode(entry["sig"]))
        other = encode_dss_signature(r, _ORDER - s)
        return dsse.envelope(release.PAYLOAD_TYPE, _payload(data), [(self.good.id, other)])

    def tell(self, envelope: bytes) -> Answer:
        path = self.rig.root / "attack.dsse.json"
        path.write_bytes(envelope)
        return self.rig.run("stage", self.driving, "--channel-record", str(path))

    def trust(self, envelope: bytes) -> Answer:
        path = self.rig.root / "attack.dsse.json"
        path.write_bytes(envelope)
        return self.rig.run("trust", str(path))

    def key(self, name: str, data: bytes, signer: Signer) -> Answer:
        """Stage a release of `signer` while such a file lies among the keys."""
        path = self.rig.layout.keys / name
        path.write_bytes(data)
        try:
            return self.signed(lambda payload: envelope(release.PAYLOAD_TYPE, payload, signer))
        finally:
            path.unlink()


Attack = Callable[[AttackedRobot], Answer]


def _payload(data: bytes) -> bytes:
    return base64.b64decode(json.loads(data)["payload"])


def _edited(data: bytes, **changes: object) -> bytes:
    return dump({**json.loads(data), **changes})


def _bare(robot: AttackedRobot) -> Answer:
    def sign(payload: bytes) -> bytes:
        signature = robot.good.private.sign(payload, ec.ECDSA(hashes.SHA256()))
        return dsse.envelope(release.PAYLOAD_TYPE, payload, [(robot.good.id, signature)])

    return robot.signed(sign)


def _pem(key: Any) -> bytes:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    data: bytes = key.public_key().public_bytes(serialization.Encoding.PEM, spki)
    return data


def _mixed(robot: AttackedRobot) -> Answer:
    """The document of one release under the name of another."""
    one, two = robot.publish(), robot.publish()
    source = robot.rig.source / "releases"
    (source / one[7:] / "release.dsse.json").write_bytes((source / two[7:] / "release.dsse.json").read_bytes())
    return robot.rig.run("stage", one)


def _other_wheel(robot: AttackedRobot) -> Answer:
    digest = robot.publish()
    (robot.rig.source / "releases" / digest[7:] / "image.whl").write_bytes(b"PK\x03\x04 something else")
    return robot.rig.run("stage", digest)


def _off_curve() -> bytes:
    der = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\x04" + b"\x01" * 64
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(der) + b"-----END PUBLIC KEY-----\n"


def _as_type(kind: str) -> Attack:
    return lambda robot: robot.signed(
        lambda payload: _edited(envelope(kind, payload, robot.good), payloadType=release.PAYLOAD_TYPE)
    )


def _nested(depth: int) -> object:
    value: object = {}
    for _ in range(depth):
        value = [value]
    return value


_RELEASES: dict[str, Attack] = {
    "arbitrary software, unsigned": lambda robot: robot.spoiled(lambda data: _edited(data, signatures=[])),
    "arbitrary software, by a stranger": lambda robot: robot.signed(
        lambda payload: envelope(release.PAYLOAD_TYPE, payload, robot.evil)
    ),
    "arbitrary software, a borrowed key id": lambda robot: robot.raw(robot.evil.sign(release.PAYLOAD_TYPE, b"x")),
    "arbitrary software, the bare payload signed": _bare,
    "arbitrary software, a tail behind the envelope": lambda robot: robot.spoiled(lambda data: data + b"{}"),
    "arbitrary software, nothing at all": lambda robot: robot.spoiled(lambda data: b""),
    "arbitrary software, an empty signature": lambda robot: robot.raw(b""),
    "arbitrary software, r and s are 0": lambda robot: robot.raw(encode_dss_signature(0, 0)),
    "arbitrary software, r and s are the order": lambda robot: robot.raw(encode_dss_signature(_ORDER, _ORDER)),
    "arbitrary software, a signature that is no DER": lambda robot: robot.raw(b"\x30\x80" * 30),
    "arbitrary software, a signature without end": lambda robot: robot.raw(b"\x30" * 5000),
    "arbitrary software, a changed payload": lambda robot: robot.spoiled(
        lambda data: _edited(data, payload=base64.b64encode(_payload(data).replace(b"pilot", b"pirat")).decode())
    ),
    "arbitrary software, by a retired key": lambda robot: robot.signed(
        lambda payload: envelope(release.PAYLOAD_TYPE, payload, robot.retired)
    ),
    "cross-type, a channel record's signature": _as_type(channel.PAYLOAD_TYPE),
    "cross-type, a trust document's signature": _as_type(trust.PAYLOAD_TYPE),
    "cross-type, no type": lambda robot: robot.spoiled(lambda data: _edited(data, payloadType="")),
    "mix-and-match, another release under this name": _mixed,
    "mix-and-match, another wheel under this release": _other_wheel,
    "rollback of the release, below the floor": lambda robot: robot.rig.run(
        "stage", robot.publish(counter=4, minimum_counter=0)
    ),
    "rollback to what is revoked": lambda robot: robot.rig.run("stage", robot.revoked),
    "rollback to what was never committed": lambda robot: robot.rig.run("rollback", "--to", f"sha256:{'1' * 64}"),
    "switch to what was never staged": lambda robot: robot.rig.run("switch", f"sha256:{'1' * 64}"),
    "endless data, an envelope beyond the limit": lambda robot: robot.spoiled(
        lambda data: data[:-1] + b',"x":"' + b"x" * dsse.MAX_ENVELOPE_BYTES + b'"}'
    ),
    "endless data, more signatures than are read": lambda robot: robot.spoiled(
        lambda data: _edited(data, signatures=json.loads(data)["signatures"] * 9)
    ),
    "duplicate keys in the envelope": lambda robot: robot.spoiled(lambda data: data[:-1] + b',"payload":"e30="}'),
    "duplicate keys in the document": lambda robot: robot.document(
        lambda fields: json.dumps(fields)[:-1].encode() + b',"counter":1}'
    ),
    "unknown key in the envelope": lambda robot: robot.spoiled(lambda data: _edited(data, cert="x")),
    "unknown key in the document": lambda robot: robot.document(lambda fields: {**fields, "surprise": 1}),
    "a newer schema": lambda robot: robot.document(lambda fields: {**fields, "schema": 2}),
    "not a number": lambda robot: robot.document(
        lambda fields: {**fields, "config": {"profile": "optimized", "overrides": {"max_speed": float("nan")}}}
    ),
    "deep JSON": lambda robot: robot.document(lambda fields: {**fields, "config": _nested(40)}),
    "half a character": lambda robot: robot.document(lambda fields: {**fields, "name": "\ud800"}),
    "control characters in a name": lambda robot: robot.document(lambda fields: {**fields, "name": "\x1b]0;pwned\x07"}),
    "fast-forward of the counter, 2^62": lambda robot: robot.document(lambda fields: {**fields, "counter": 1 << 62}),
    "fast-forward of the counter, 10^400": lambda robot: robot.document(lambda fields: {**fields, "counter": 10**400}),
    "fast-forward of the floor, 2^62": lambda robot: robot.document(
        lambda fields: {**fields, "minimum_counter": 1 << 62}
    ),
    "a repository that leaves the registry": lambda robot: robot.document(
        lambda fields: {**fields, "model": {**fields["model"], "repository": "../../etc"}}
    ),
    "a tag where a digest belongs": lambda robot: robot.document(
        lambda fields: {**fields, "model": {**fields["model"], "digest": "latest"}}
    ),
}
_RECORDS: dict[str, Attack] = {
    "record by a stranger": lambda robot: robot.tell(record(LATEST + 1, robot.evil)),
    "record by a retired key": lambda robot: robot.tell(record(LATEST + 1, robot.retired)),
    "record, cross-type, a release's signature": lambda robot: robot.tell(
        _edited(envelope(release.PAYLOAD_TYPE, b"{}", robot.good), payloadType=channel.PAYLOAD_TYPE)
    ),
    "record that is a release": lambda robot: robot.tell(envelope(channel.PAYLOAD_TYPE, b'{"schema":1}', robot.good)),
    "rollback of the record": lambda robot: robot.tell(record(LATEST - 1, robot.good)),
    "equivocation: the same number with other content": lambda robot: robot.tell(record(LATEST, robot.good)),
    "fast-forward of the record, 2^63": lambda robot: robot.tell(record(1 << 63, robot.good)),
    "fast-forward of the record, 400 digits": lambda robot: robot.tell(record(10**400, robot.good)),
    "fast-forward by a trust that is not here": lambda robot: robot.tell(record(1, robot.good, trust=6)),
    "a record that expires on no day": lambda robot: robot.tell(record(LATEST + 1, robot.good, expires="2027-02-30")),
    "a record that revokes what it leads to": lambda robot: robot.tell(
        record(LATEST + 1, robot.good, revoked=[f"sha256:{'6' * 64}"])
    ),
    "a record with too many that are revoked": lambda robot: robot.tell(
        record(LATEST + 1, robot.good, revoked=[f"sha256:{n:064x}" for n in range(257)])
    ),
    "a record with an unknown key": lambda robot: robot.tell(record(LATEST + 1, robot.good, more=1)),
}
_TRUST: dict[str, Attack] = {
    "root by a stranger": lambda robot: robot.trust(trust_document(6, [robot.evil], [robot.evil])),
    "root signed by its own keys only": lambda robot: robot.trust(
        trust_document(6, [robot.evil], [robot.evil, robot.good])
    ),
    "root by a retired key": lambda robot: robot.trust(trust_document(6, [robot.retired], [robot.retired])),
    "root of a lower version": lambda robot: robot.trust(trust_document(4, [robot.good], [robot.evil])),
    "root of the same version with other content": lambda robot: robot.trust(
        trust_document(5, [robot.good], [robot.evil])
    ),
    "root with a threshold of 0": lambda robot: robot.trust(_root(robot, threshold=0)),
    "root with more to sign than there are keys": lambda robot: robot.trust(_root(robot, threshold=2)),
    "root with one key twice": lambda robot: robot.trust(
        _root(robot, threshold=2, keys=[robot.evil.public.decode()] * 2)
    ),
    "root without keys": lambda robot: robot.trust(_root(robot, keys=[])),
    "root with an RSA key": lambda robot: robot.trust(
        _root(robot, keys=[_pem(rsa.generate_private_key(65537, 2048)).decode()])
    ),
    "root with a number beyond 2^53": lambda robot: robot.trust(_root(robot, number=1 << 62)),
    "root that is a channel record": lambda robot: robot.trust(
        _edited(record(LATEST + 1, robot.good), payloadType=trust.PAYLOAD_TYPE)
    ),
    "root that is no document": lambda robot: robot.trust(b"\x00\xff"),
}
_KEYS: dict[str, Attack] = {
    "key file under another name": lambda robot: robot.key(f"{'0' * 64}.pub", robot.evil.public, robot.evil),
    "key file with two keys": lambda robot: robot.key(
        robot.evil.file, robot.good.public + robot.evil.public, robot.evil
    ),
    "key file with a P-384 key": lambda robot: robot.key(
        robot.evil.file, _pem(ec.generate_private_key(ec.SECP384R1())), robot.evil
    ),
    "key file with an RSA key": lambda robot: robot.key(
        robot.evil.file, _pem(rsa.generate_private_key(65537, 2048)), robot.evil
    ),
    "key file with an Ed25519 key": lambda robot: robot.key(
        robot.evil.file, _pem(ed25519.Ed25519PrivateKey.generate()), robot.evil
    ),
    "key file with a point that is on no curve": lambda robot: robot.key(
        f"{dsse.key_id(_off_curve(), 'x').hex}.pub", _off_curve(), robot.evil
    ),
    "key file without end": lambda robot: robot.key(robot.evil.file, robot.evil.public + b"\n" * 100_000, robot.evil),
}


def _root(robot: AttackedRobot, **changes: object) -> bytes:
    fields = {"schema": 1, "number": 6, "threshold": 1, "keys": [robot.evil.public.decode()], **changes}
    return envelope(trust.PAYLOAD_TYPE, dump(fields), robot.good)


ATTACKS: dict[str, Attack] = {**_RELEASES, **_RECORDS, **_TRUST, **_KEYS}


def refused(robot: AttackedRobot, attack: Attack) -> str | None:
    """Play an attack; None when it was refused in one line and the robot is as it was, else what went wrong."""
    layout = robot.rig.layout
    kept = [(path, path.read_bytes()) for path in (layout.floor, layout.revoked)]
    documents = sorted(layout.trust.iterdir())
    answer = attack(robot)
    if answer.code not in (1, 2, 5) or "error" not in answer.document:
        return f"exit {answer.code}: {answer.document}"
    if "\n" in answer.message or not answer.message.isprintable():
        return f"more than a line: {answer.message!r}"
    if [path for path, data in kept if path.read_bytes() != data] or sorted(layout.trust.iterdir()) != documents:
        return "what the robot knows has changed"
    status = robot.rig.status()
    healthy = status["healthy"] and status["running"]["digest"] == robot.driving
    return None if healthy else f"the robot is not as it was: {status['problems']}"
