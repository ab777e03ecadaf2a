"""What this robot has and what it committed to: release folders, links, the counter floor and the quarantine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, as_text, dump, parse
from model_registry.core.errors import HomeportError, IntegrityError, NotFoundError, RefusedError, UsageError
from model_registry.core.files import Files
from model_registry.core.gate import proved
from model_registry.core.layout import SLOTS, Layout, ReleaseFolder, linked_release, linked_slot
from model_registry.core.release import PAYLOAD_TYPE, Release
from stack.agent.disk.trusting import trust_of
from stack.agent.reports import Failure
from stack.agent.runtime import Runtime

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Floor:
    """What this robot never runs again.

    That is releases below `minimum_counter`, and releases that read no state of schema `minimum_state`. `committed` are
    oldest first.
    """

    minimum_counter: int = 0
    committed: tuple[Digest, ...] = ()
    minimum_state: int = 0

    @classmethod
    def parse(cls, data: bytes) -> Floor:
        reader = Reader(parse(data, "floor.json"), "floor.json")
        reader.schema()
        state = reader.integer("minimum_state") if reader.has("minimum_state") else 0
        floor = cls(reader.integer("minimum_counter"), reader.items("committed", Digest.parse), state)
        reader.done()
        return floor


class Store:
    """Everything durable below ROOT except the journal. All writes go through `files`."""

    def __init__(self, layout: Layout, files: Files, runtime: Runtime) -> None:
        self.layout = layout
        self.files = files
        self._runtime = runtime

    def prepare(self) -> None:
        """Create the folders this agent writes to."""
        for folder in ("releases", "slots", "models", "engines", "ingest", "logs"):
            self.files.make_folder(self.layout.root / folder)

    def load(self, digest: Digest) -> Release:
        """The release document on disk. Raises NotFoundError when it was never staged here."""
        path = self.layout.release(digest).document
        try:
            data = path.read_bytes()
        except OSError:
            raise NotFoundError(f"{digest}: not on this robot; run `homeport-agent stage {digest}` first") from None
        return Release.parse(digest.check(data, str(path)))

    def find(self, digest: Digest | None) -> Release | None:
        """The same for reports: None when it cannot be read."""
        try:
            return None if digest is None else self.load(digest)
        except HomeportError:
            return None

    def engine_key(self, digest: Digest) -> str | None:
        """The key of the engine that was built for a release, when it is complete."""
        folder = self.layout.release(digest)
        return folder.engine.readlink().name if folder.engine.is_symlink() and folder.engine_ready.exists() else None

    def missing(self, digest: Digest) -> list[str]:
        """What a release lacks before it can run without any source."""
        folder = self.layout.release(digest)
        absent = folder.lacks()
        if folder.proof.exists() and not proved(folder.proof):
            absent.append(folder.proof.name)
        return absent if self.installed(digest) else [*absent, "image"]

    def installed(self, digest: Digest) -> bool:
        """Whether document and code of a release are here, or a copy of the code."""
        release = self.find(digest)
        return release is not None and self._runtime.installed(release, self.layout.release(digest))

    def restored(self, digest: Digest) -> bool:
        """The same, after what was lost or damaged came back from its copy."""
        release = self.find(digest)
        if release is None:
            return False
        try:
            self._runtime.ensure(release)
        except HomeportError:
            return False
        return True

    def staged(self) -> list[Digest]:
        """Releases that are complete on disk."""
        names = sorted(path.name for path in (self.layout.root / "releases").glob("[0-9a-f]*") if len(path.name) == 64)
        digests = [Digest(name) for name in names]
        return [digest for digest in digests if not self.missing(digest)]

    def slot_release(self, slot: str) -> Digest | None:
        return linked_release(self.layout.slot(slot))

    def current(self) -> Digest | None:
        return linked_release(self.layout.current)

    def current_slot(self) -> str | None:
        return linked_slot(self.layout)

    def free_slot(self) -> str:
        """The slot that `current` does not name."""
        return next(slot for slot in SLOTS if slot != self.current_slot())

    def previous(self) -> Digest | None:
        return linked_release(self.layout.previous)

    def fallback(self) -> Digest | None:
        return linked_release(self.layout.fallback)

    def link_slot(self, slot: str, digest: Digest) -> None:
        self.files.link(self.layout.slot(slot), f"../releases/{digest.hex}")

    def rename_current(self, slot: str) -> None:
        """The one durable change of a deployment."""
        self.files.link(self.layout.current, f"slots/{slot}")

    def pin(self, digest: Digest) -> None:
        """Make a release the fallback."""
        self.files.link(self.layout.fallback, f"releases/{digest.hex}")

    def settle(self, release: Release, previous: Digest | None) -> None:
        """What follows from a COMMIT: previous (None: there is none any more), fallback and floor. Repeatable."""
        if previous is not None:
            self.files.link(self.layout.previous, f"releases/{previous.hex}")
        elif self.layout.previous.is_symlink():
            self.files.unlink(self.layout.previous)
        if not self.layout.fallback.is_symlink():
            self.pin(release.digest)
        floor = self.floor()
        committed = floor.committed if release.digest in floor.committed else (*floor.committed, release.digest)
        counter = max(floor.minimum_counter, release.minimum_counter)
        state = max(floor.minimum_state, release.state.readable_from)
        if (after := Floor(counter, committed, state)) != floor:
            self._write_floor(after)

    def set_minimum_counter(self, counter: int) -> None:
        """Make this the floor of the counter, whatever it was: a trust document says so."""
        self._write_floor(replace(self.floor(), minimum_counter=counter))

    def _write_floor(self, floor: Floor) -> None:
        committed = [str(each) for each in floor.committed]
        self.files.write(self.layout.floor, dump({"schema": 1, **asdict(floor), "committed": committed}))

    def floor(self) -> Floor:
        """Raises IntegrityError when the file is damaged."""
        lost = (
            "move it away, and this robot has no release to roll back to but by homeport-rescue, until it is deployed "
            "to"
        )
        return _read(self.layout.floor, Floor.parse, lost) or Floor()

    def check_not_quarantined(self, digest: Digest, remedy: str) -> None:
        """Raises RefusedError, which ends with the `remedy`, for a release that failed on this robot."""
        if (why := self.quarantined().get(digest)) is not None:
            raise RefusedError(f"{digest}: failed here before ({why}); {remedy}")

    def quarantined(self) -> dict[Digest, str]:
        """Digest → why it must not run here. Raises IntegrityError when the file is damaged."""
        lost = "move it away, and what failed here before may be tried again"
        return _read(self.layout.quarantine, _quarantine, lost) or {}

    def quarantine(self, failure: Failure) -> None:
        self._write_quarantine({**self.quarantined(), failure.release: f"{failure.stage}: {failure.message}"})

    def pardon(self, digest: Digest) -> None:
        """Take a release out of quarantine, after it proved itself again."""
        table = self.quarantined()
        if table.pop(digest, None) is not None:
            self._write_quarantine(table)

    def _write_quarantine(self, table: dict[Digest, str]) -> None:
        self.files.write(
            self.layout.quarantine, dump({"schema": 1, "releases": {str(digest): why for digest, why in table.items()}})
        )


def verify_folder(layout: Layout, folder: ReleaseFolder, digest: Digest) -> Release:
    """Check the signature of a release folder again, with this robot's keys.

    A release that was committed here is proved by retired keys as well. Raises UntrustedError or IntegrityError.
    """
    what = f"release {digest.short}"
    try:
        data = folder.envelope.read_bytes()
    except OSError as error:
        raise NotFoundError(f"{what}: no signed document in {folder} ({error.strerror}); stage it again") from error
    trust = trust_of(layout)
    check = trust.prove if was_committed(layout, digest) else trust.verify
    return Release.parse(digest.check(check(data, PAYLOAD_TYPE, what), what))


def was_committed(layout: Layout, digest: Digest) -> bool:
    """Whether this robot has committed a release; of a floor.json that cannot be read, no."""
    try:
        return digest in Floor.parse(layout.floor.read_bytes()).committed
    except (OSError, HomeportError):
        return False


def verify_staged(layout: Layout, digest: Digest) -> Release:
    """The same for a release where it was staged."""
    return verify_folder(layout, layout.release(digest), digest)


def _read(path: Path, take: Callable[[bytes], T], lost: str) -> T | None:
    """A document of ours, None where there is none yet. Raises IntegrityError with what to do when it is damaged."""
    try:
        return take(path.read_bytes()) if path.exists() else None
    except (UsageError, OSError) as error:
        raise IntegrityError(f"{path}: damaged ({error}); {lost}") from error


def _quarantine(data: bytes) -> dict[Digest, str]:
    reader = Reader(parse(data, "quarantine.json"), "quarantine.json")
    reader.schema()
    table = reader.table("releases", as_text)
    reader.done()
    return {Digest.parse(text): why for text, why in table.items()}


def resolve(store: Store, name: str) -> Digest:
    """`previous`, `fallback` or a digest. Raises RefusedError or UsageError."""
    if name not in ("previous", "fallback"):
        return Digest.parse(name, "rollback --to")
    digest = store.previous() if name == "previous" else store.fallback()
    if digest is None:
        raise RefusedError(f"{name}: this robot has none yet; name a release with --to sha256:…")
    return digest
