"""Documents as nobody would write them, for every reader of what comes from outside: only errors of ours may come out.

`Fuzzer(seed)` begins with good documents of each kind and spoils them: bytes that change, places in the JSON that get
another value, keys that come twice, halves of characters, numbers without end. `run` throws so many of them at the
readers and gives back what it has seen; one seed gives the same documents on every machine.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from model_registry.core.channel import ChannelRecord
from model_registry.core.contract import Contract
from model_registry.core.digest import Digest
from model_registry.core.documents import dump, parse
from model_registry.core.dsse import read_payload
from model_registry.core.errors import HomeportError
from model_registry.core.release import Release
from model_registry.core.trust import TrustDocument
from model_registry.manifests import EMPTY, FILE_PATH, Descriptor, Manifest
from model_registry.models import ARTIFACT, files_of
from model_registry.refs import Address, Reference
from stack.agent.disk.revocations import SeenRecord
from stack.agent.disk.store import Floor
from tests.fakes.rig import contract
from tests.fakes.robot import release_fields
from tests.fakes.trust import Signer, envelope
from tests.fakes.unseen import unseen

_ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1.5, 2**53 + 1, 2**63, 10**400, -(10**400), 1e308, "", "\x00", "\x1b]0;pwned\x07", "a\nb",
    "../x", "../../../../v2/_catalog", "é日本😀", "\ud800", "\udfff", "x" * 300, [], {}, [[]], {"": None}, {"\n": []},
    [{}] * 3, "sha256:" + "a" * 64, "sha256:" + "A" * 64, "0" * 4400,
)  # fmt: skip
_TEXTS = (
    b"NaN", b"-Infinity", b"1e999", b"0" * 20, b"9" * 5000, b"[" * 30, b"{" * 400, b'"\\ud800"', b'"\\u0000"', b"\xff",
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"/**/", b"'", b",", b'{"a":1,"a":2}', b"\\", b"\x00", b"tru", b"-", b"1_0",
)  # fmt: skip
Reads = Callable[[bytes], object]


@dataclass(frozen=True)
class FuzzedKind:
    """A kind of document: good ones, and who reads them."""

    name: str
    good: tuple[bytes, ...]
    read: Reads


@dataclass
class FuzzFindings:
    """How many documents were read or refused, by kind, and every error that was not ours, with what caused it."""

    documents: int = 0
    read: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    """Messages of ours that are more than a line, or hold what nobody sees."""
    seconds: float = 0.0
    """Of processor time."""


def kinds() -> tuple[FuzzedKind, ...]:
    digest = Digest.of(b"model")
    release = dump(release_fields(digest, "1.0.0"))
    key = Signer()
    layers = tuple(Descriptor.of("application/x", path.encode(), {FILE_PATH: path}) for path in ("vla.json", "a.onnx"))
    manifest = Manifest(ARTIFACT, EMPTY, layers, {"a": "b"}, layers[0]).bytes()
    record = {"schema": 1, "name": "pilot", "channel": "stable", "seq": 3, "digest": str(digest), "trust": 1}
    record |= {"expires": "2027-01-31", "min_version": "1.0.0", "revoked": [f"sha256:{'1' * 64}"]}
    trust = {"schema": 1, "number": 2, "threshold": 1, "keys": [key.public.decode()], "minimum_counter": 3}
    floor = {"schema": 1, "minimum_counter": 1, "minimum_state": 0, "committed": [str(digest)]}
    signed = envelope("application/x", b"{}", key)
    names = (b"pilot:1.0.0", f"models/pilot@{digest}".encode(), b"https://registry.example.org:5000", b"oci:folder")
    return (
        FuzzedKind("release", (release,), Release.parse),
        FuzzedKind("contract", (contract(), contract("joint_velocity")), Contract.parse),
        FuzzedKind("manifest", (manifest,), _manifest),
        FuzzedKind("channel", (dump(record),), lambda data: ChannelRecord.parse(data).payload()),
        FuzzedKind("trust", (dump(trust),), lambda data: TrustDocument.parse(data).payload()),
        FuzzedKind("envelope", (signed,), lambda data: read_payload(data, "application/x", "envelope")),
        FuzzedKind("floor", (dump(floor),), Floor.parse),
        FuzzedKind("seen", (b"3", b'{"seq":3,"trust":0,"payload":""}'), _seen),
        FuzzedKind("names", names, _names),
    )


def _manifest(data: bytes) -> object:
    manifest = Manifest.parse(data, "manifest")
    assert Manifest.parse(manifest.bytes(), "again") == manifest
    return files_of(manifest, "models/pilot")


def _seen(data: bytes) -> object:
    return SeenRecord.read(parse(data, "seen"), "seen")


def _names(data: bytes) -> object:
    text = data.decode(errors="surrogateescape")
    try:
        return Reference.parse(text)
    except HomeportError:
        return Address.parse(text)


class Fuzzer:
    """An endless supply of spoiled documents."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._kinds = kinds()
        self._parsed = {kind.name: [self._load(data) for data in kind.good] for kind in self._kinds}

    @staticmethod
    def _load(data: bytes) -> object:
        try:
            return json.loads(data)
        except ValueError:
            return None

    def next(self) -> tuple[FuzzedKind, bytes]:
        chance = self._chance
        kind = chance.choice(self._kinds)
        which = chance.randrange(len(kind.good))
        parsed = self._parsed[kind.name][which]
        if parsed is not None and chance.random() < 0.5:
            return kind, self._placed(parsed)
        return kind, self._cut(kind.good[which])

    def _placed(self, parsed: object) -> bytes:
        """The document with another value somewhere, or a key more or less."""
        chance, document = self._chance, json.loads(json.dumps(parsed))
        place: Any = document
        while isinstance(place, (dict, list)) and place:
            key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
            if not isinstance(place[key], (dict, list)) or not place[key] or chance.random() < 0.3:
                break
            place = place[key]
        if not isinstance(place, (dict, list)) or not place:
            return json.dumps(chance.choice(_ODD)).encode()
        action = chance.random()
        if action < 0.1:
            del place[key]
        elif action < 0.2 and isinstance(place, dict):
            place[str(chance.choice(_ODD))[:40]] = chance.choice(_ODD)
        else:
            place[key] = chance.choice(_ODD)
        return json.dumps(document, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass")

    def _cut(self, good: bytes) -> bytes:
        """The bytes with some of them changed, doubled, lost, or with something odd between them."""
        chance, data = self._chance, bytearray(good)
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            at = chance.randrange(len(data) + 1)
            action = chance.randrange(5)
            if action == 0 and at < len(data):
                data[at] = chance.randrange(256)
            elif action == 1:
                data[at:at] = chance.choice(_TEXTS)
            elif action == 2:
                del data[at : at + chance.randrange(1, 20)]
            elif action == 3:
                data[at:at] = data[chance.randrange(len(data) + 1) :][: chance.randrange(1, 40)]
            else:
                data = data[:at]
        return bytes(data)


def run(seed: int, documents: int, look: Callable[[str], list[str]]) -> FuzzFindings:
    """Throw so many documents at their readers. `look` names what nobody would see in a message."""
    found, fuzzer, began = FuzzFindings(), Fuzzer(seed), time.process_time()
    for _ in range(documents):
        kind, data = fuzzer.next()
        found.documents += 1
        try:
            kind.read(data)
            found.read[kind.name] = found.read.get(kind.name, 0) + 1
        except HomeportError as error:
            found.refused[kind.name] = found.refused.get(kind.name, 0) + 1
            said = str(error)
            plain = said.isascii() and said.isprintable()  # which is quick to see
            if not plain and ("\n" in said or look(said)):
                found.unseen.append(f"{kind.name}: {said!r}")
        except Exception as error:  # whatever is not ours is what this looks for
            found.foreign.append(f"{kind.name}: {type(error).__name__}: {error} from {data[:200]!r}")
    found.seconds = time.process_time() - began
    return found


def most_mb() -> int:
    """The most memory that this program has taken since it began (MB). What getrusage says includes its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM"))


def main(seed: int, documents: int) -> None:
    """One part as a program: its findings as JSON, with the memory that it took for them (MB)."""
    before = most_mb()
    found = run(seed, documents, unseen)
    print(json.dumps({**asdict(found), "grown_mb": most_mb() - before}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
