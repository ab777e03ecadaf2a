"""Who is trusted on one machine: which keys sign, how many of them it takes, and which only prove what is old.

    keys/<64 hex>.pub           sign what is new
    keys/retired/<64 hex>.pub   prove only what this robot had committed before they were retired
    trust/<number>.dsse.json    trust documents, each signed by those whom the one before it names

Without a trust document each key in `keys` signs alone. From the first one on the newest says which keys sign and how
many of them must; every other key that was ever trusted here is retired. A document whose number does not rise, or that
the keys before it did not sign, changes nothing (docs/adr/0019).

    trust = Trust.load(layout.keys, layout.trust)
    payload = trust.verify(envelope, PAYLOAD_TYPE, "release")     # what is new
    payload = trust.prove(envelope, PAYLOAD_TYPE, "release")      # what was committed here before
    trust = trust.after(envelope)                                 # when the next trust document comes
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from model_registry.core import dsse
from model_registry.core.digest import Digest
from model_registry.core.documents import MAX_COUNTER, Reader, as_text, dump, parse
from model_registry.core.dsse import Key
from model_registry.core.errors import HomeportError, RefusedError, UntrustedError, UsageError

PAYLOAD_TYPE = "application/vnd.homeport.trust.v1+json"
MOST_KEYS = 16
SUFFIX = ".dsse.json"


@dataclass(frozen=True, slots=True)
class TrustDocument:
    """Which `keys` sign from now on, and how many of them must (`threshold`).

    `number` only rises. `minimum_counter`, where there is one, becomes the robot's floor for the counter of releases,
    also where the floor was higher: the way out when somebody has driven it up.
    """

    number: int
    threshold: int
    keys: tuple[Key, ...]
    minimum_counter: int | None = None

    @classmethod
    def parse(cls, payload: bytes) -> TrustDocument:
        """Raises UsageError naming the key."""
        reader = Reader(parse(payload, "trust"), "trust")
        reader.schema()
        document = cls(
            number=reader.integer("number", 1, MAX_COUNTER),
            threshold=reader.integer("threshold", 1, dsse.MOST_SIGNATURES),
            keys=reader.items("keys", _key),
            minimum_counter=(
                reader.integer("minimum_counter", 0, MAX_COUNTER) if reader.has("minimum_counter") else None
            ),
        )
        reader.done()
        if not 0 < len(document.keys) <= MOST_KEYS or len({key.id for key in document.keys}) != len(document.keys):
            raise UsageError(f"trust.keys: expected 1 to {MOST_KEYS} different keys, got {len(document.keys)}")
        if document.threshold > len(document.keys):
            raise UsageError(f"trust.threshold: {document.threshold} of {len(document.keys)} keys can never sign")
        return document

    def payload(self) -> bytes:
        """The bytes that are signed."""
        keys = [key.pem.decode() for key in sorted(self.keys, key=lambda key: key.id)]
        fields = {"schema": 1, "number": self.number, "threshold": self.threshold, "keys": keys}
        floor = {} if self.minimum_counter is None else {"minimum_counter": self.minimum_counter}
        return dump({**fields, **floor})


def _key(value: object, path: str) -> Key:
    pem = as_text(value, path).encode()
    return Key(dsse.key_id(pem, path), pem)


@dataclass(frozen=True, slots=True)
class Trust:
    """`number` and `newest` are of the newest trust document: 0 and empty where there is none.

    `broken` has a sentence for each file that could not be used; the others count.
    """

    folder: Path
    keys: tuple[Key, ...]
    retired: tuple[Key, ...] = ()
    threshold: int = 1
    number: int = 0
    newest: bytes = field(default=b"", repr=False)
    broken: tuple[str, ...] = ()

    @classmethod
    def load(cls, keys: Path, documents: Path) -> Trust:
        """What the files of a machine say together.

        Trust documents that cannot be followed from the keys are no reason to believe older ones: then no key signs
        what is new, and all of them prove what is old.
        """
        active, retired = dsse.read_keys(keys), dsse.read_keys(keys / "retired")
        broken = (*active.broken, *retired.broken)
        old = _others(retired.keys, active.keys)
        trust = cls(keys, active.keys, old, broken=broken)
        paths = sorted(documents.glob(f"*{SUFFIX}"), key=lambda path: (len(path.name), path.name))
        if paths:
            trust = replace(trust, keys=(*active.keys, *old))  # the first one may be signed by a key retired since
        for path in paths:
            try:
                trust = trust.after(path.read_bytes())
            except (HomeportError, OSError) as error:
                everyone = (*trust.keys, *_others(trust.retired, trust.keys))
                return replace(trust, keys=(), retired=everyone, broken=(*broken, f"{path}: {error}"))
        return trust

    @classmethod
    def of_folder(cls, keys: Path) -> Trust:
        """What a publisher's folder of keys says, with its trust documents in `trust` below it."""
        return cls.load(keys, keys / "trust")

    def verify(self, envelope: bytes, payload_type: str, what: str) -> bytes:
        """The payload of what is new. Raises UntrustedError when fewer keys signed it than it takes."""
        payload, _ = self.signed(envelope, payload_type, what)
        return payload

    def signed(self, envelope: bytes, payload_type: str, what: str) -> tuple[bytes, tuple[Digest, ...]]:
        """The same, and the ids of the keys that were asked for and have signed."""
        if not self.keys:
            raise dsse.no_keys(self.folder, self.broken)
        try:
            return dsse.verify(envelope, payload_type, self.keys, what, self.threshold)
        except UntrustedError as error:
            if self._signed_by_retired(envelope, payload_type, what):
                raise UntrustedError(
                    f"{what}: signed by a retired key, which proves only what was committed here before; sign it with "
                    "a key in use"
                ) from error
            raise self._with_broken(error) from error

    def prove(self, envelope: bytes, payload_type: str, what: str) -> bytes:
        """The payload of what was committed here before: any key will do that signs, or has signed, here."""
        everyone = (*self.keys, *self.retired)
        if not everyone:
            raise dsse.no_keys(self.folder, self.broken)
        try:
            payload, _ = dsse.verify(envelope, payload_type, everyone, what)
        except UntrustedError as error:
            raise self._with_broken(error) from error
        return payload

    def after(self, envelope: bytes) -> Trust:
        """Who is trusted from the next trust document on.

        Raises UntrustedError when those who are trusted now did not sign it, RefusedError when its number does not
        rise, UsageError when it is none. The same one again changes nothing.
        """
        what = "trust document"
        payload, _ = dsse.read_payload(envelope, PAYLOAD_TYPE, what)
        if payload == self.newest:  # which those have signed whom it has replaced
            return self
        document = TrustDocument.parse(self.verify(envelope, PAYLOAD_TYPE, what))
        if document.number == self.number:
            raise RefusedError(f"{what} {document.number}: another one with this number is known here; raise it")
        if document.number < self.number:
            raise RefusedError(f"{what} {document.number}: this machine knows {self.number} already; give it a newer")
        return replace(
            self,
            keys=document.keys,
            retired=_others((*self.keys, *self.retired), document.keys),
            threshold=document.threshold,
            number=document.number,
            newest=payload,
        )

    def document(self) -> TrustDocument | None:
        """The newest trust document, or None."""
        return TrustDocument.parse(self.newest) if self.newest else None

    def _signed_by_retired(self, envelope: bytes, payload_type: str, what: str) -> bool:
        try:
            dsse.verify(envelope, payload_type, self.retired, what)
        except UntrustedError:
            return False
        return True

    def _with_broken(self, error: UntrustedError) -> UntrustedError:
        return UntrustedError("; ".join((str(error), *(f"not usable: {each}" for each in self.broken[:3]))))


def _others(keys: Iterable[Key], but: Iterable[Key]) -> tuple[Key, ...]:
    """Each of `keys` once that is none of `but`."""
    known = {key.id for key in but}
    return tuple({key.id: key for key in keys if key.id not in known}.values())
