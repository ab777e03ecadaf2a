"""Releases that nobody may go to any more, as signed channel records have told this robot.

It only grows: a record that leaves one out brings none back.

What is revoked is not staged, switched or gone back to. It is still started at boot where `current` names it, and where
nothing else is left: the status says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from model_registry.core import dsse
from model_registry.core.channel import PAYLOAD_TYPE, ChannelRecord
from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, as_integer, as_text, dump, parse
from model_registry.core.errors import HomeportError, RefusedError
from model_registry.core.files import Files
from model_registry.core.layout import Layout, linked_release


@dataclass(frozen=True, slots=True)
class Revocations:
    """`seen`: channel → number of its newest record; `releases`: digest → which record said it first."""

    seen: dict[str, int] = field(default_factory=dict)
    releases: dict[Digest, str] = field(default_factory=dict)

    @classmethod
    def load(cls, layout: Layout) -> Revocations:
        """Raises HomeportError when what was known cannot be read."""
        try:
            reader = Reader(parse(layout.revoked.read_bytes(), "revoked.json"), "revoked.json")
            reader.schema()
            releases = reader.table("releases", as_text)
            found = cls(reader.table("seen", as_integer), {Digest.parse(text): why for text, why in releases.items()})
            reader.done()
        except FileNotFoundError:
            return cls()
        except (OSError, HomeportError) as error:
            raise HomeportError(
                f"{layout.revoked}: cannot be read ({error}); remove it, then stage with the newest --channel-record"
            ) from error
        return found

    def save(self, layout: Layout, files: Files) -> None:
        """On disk when this returns."""
        if self != Revocations.load(layout):
            releases = {str(digest): why for digest, why in self.releases.items()}
            files.write(layout.revoked, dump({"schema": 1, "seen": self.seen, "releases": releases}))

    def told(self, layout: Layout, envelope: bytes) -> Revocations:
        """What is known after a record.

        Raises UntrustedError, UsageError, or RefusedError for an older record than the newest that was seen.
        """
        payload, _ = dsse.verify(envelope, PAYLOAD_TYPE, dsse.trusted_keys(layout.keys), "channel record")
        record = ChannelRecord.parse(payload)
        if record.seq < (newest := self.seen.get(record.title, 0)):
            raise RefusedError(
                f"channel record {record.title} {record.seq}: this robot has seen {newest} already; give it the "
                "newest one"
            )
        new = dict.fromkeys(record.revoked, f"channel record {record.title} {record.seq}")
        return Revocations({**self.seen, record.title: record.seq}, {**new, **self.releases})

    def check(self, layout: Layout, digest: Digest) -> None:
        """Raises RefusedError with the ways that are left."""
        if (why := self.releases.get(digest)) is None:
            return
        barred = {*self.releases, linked_release(layout.current), None}
        ways = {"previous": linked_release(layout.previous), "fallback": linked_release(layout.fallback)}
        left = [f", or go back with --to {name}" for name, each in ways.items() if each not in barred]
        raise RefusedError(f"{digest}: is revoked ({why}); deploy another release{''.join(left[:1])}")


def revoked_here(layout: Layout) -> dict[str, tuple[Digest, str]]:
    """Which of current, previous and fallback are revoked, and by what. Raises HomeportError."""
    known = Revocations.load(layout).releases
    links = {"current": layout.current, "previous": layout.previous, "fallback": layout.fallback}
    named = {name: digest for name, path in links.items() if (digest := linked_release(path)) is not None}
    return {name: (digest, known[digest]) for name, digest in named.items() if digest in known}
