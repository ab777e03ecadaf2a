"""Releases that nobody may go to any more, as signed channel records have told this robot.

It only grows: a record that leaves one out brings none back. Records are checked in channels.py.

What is revoked is not staged, switched or gone back to. It is still started at boot where `current` names it, and where
nothing else is left: the status says so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, as_text, dump, parse
from model_registry.core.errors import HomeportError, RefusedError
from model_registry.core.files import Files
from model_registry.core.layout import Layout, linked_release


@dataclass(frozen=True, slots=True)
class SeenRecord:
    """The newest record of a channel that this robot was given: `trust` and `seq` of it, and its payload's sha256.

    The last is empty where an agent before 0.3 kept only the number.
    """

    seq: int
    trust: int = 0
    payload: str = ""

    @classmethod
    def read(cls, value: object, path: str) -> SeenRecord:
        if isinstance(value, int) and not isinstance(value, bool):
            return cls(value)
        reader = Reader(value, path)
        seen = cls(reader.integer("seq"), reader.integer("trust"), reader.text("payload"))
        reader.done()
        return seen


@dataclass(frozen=True, slots=True)
class Revocations:
    """`seen`: channel → its newest record; `releases`: digest → which record said it first."""

    seen: dict[str, SeenRecord] = field(default_factory=dict)
    releases: dict[Digest, str] = field(default_factory=dict)

    @classmethod
    def load(cls, layout: Layout) -> Revocations:
        """Raises HomeportError when what was known cannot be read."""
        try:
            reader = Reader(parse(layout.revoked.read_bytes(), "revoked.json"), "revoked.json")
            reader.schema()
            releases = reader.table("releases", as_text)
            seen = reader.table("seen", SeenRecord.read)
            found = cls(seen, {Digest.parse(text): why for text, why in releases.items()})
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
            seen = {title: asdict(record) for title, record in self.seen.items()}
            files.write(layout.revoked, dump({"schema": 1, "seen": seen, "releases": releases}))

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
