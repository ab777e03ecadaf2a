"""How a release runs, apart from when.

The stages know only this protocol, so that plain processes and containers share them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, dump, fill, parse
from model_registry.core.errors import HomeportError, IncompatibleError, RefusedError
from model_registry.core.files import write_volatile
from model_registry.core.layout import Layout
from model_registry.core.release import Image, Release
from model_registry.core.robot import Robot
from stack.agent.journal import boot_id
from stack.agent.reports import Removed
from stack.agent.room import Need


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for good: a pid is used again, a pid with its start time in one boot is not.

    `pid` is what the process itself calls it.
    """

    pid: int
    start_ticks: int
    boot: str


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run: argument list and whole environment; `clear` removes what an earlier run has left."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    clear: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified release that is to be installed.

    Its folder, where it came from, and the bytes of its image that did not come with it.
    """

    folder: Path
    source: str
    image_bytes: int


class Runtime(Protocol):
    """Starts, stops and recognises what runs in slots, and runs a release's own tools."""

    def preflight(self) -> None:
        """Raises IncompatibleError when nothing can be fetched and run here."""

    def trouble(self) -> str | None:
        """Why what runs containers here does not answer within seconds, and what to do; None when it does, or when nothing is needed for them."""

    def check(self, release: Release) -> None:
        """Raises IncompatibleError when this robot has no place for the release. Stops nothing."""

    def installed(self, release: Release, folder: Path) -> bool:
        """Whether the image of a release is here, or a copy from which `ensure` brings it back."""

    def ensure(self, release: Release) -> None:
        """Look whether the image of a release is whole, and bring it back from its copy when it is not.

        Raises RefusedError when that cannot be.
        """

    def room(self, compressed_bytes: int) -> tuple[Need, ...]:
        """What an image of so many compressed bytes will take, and where."""

    def keep(self, release: Release, rest: Callable[[], None]) -> None:
        """Make the copy of a release's image if there is none yet.

        `rest` is called between its pieces and may take its time.
        """

    def prune(self, kept: Collection[Digest], dry_run: bool) -> list[Removed]:
        """Remove images and copies but `kept`, which are named as releases name them.

        What is returned was removed, or would be.
        """

    def install(self, release: Release, fetched: Fetched) -> None:
        """Turn what was fetched into something that starts at once."""

    def device_tool(self, module: str, *arguments: str) -> Command:
        """How to run a Python module of the device's own installation, before the release's code is here."""

    def tool(self, release: Release, module: str, *arguments: str) -> Command:
        """How to run one of the release's own Python modules beside what drives."""

    def start(self, slot: str, release: Release) -> Identity:
        """Start the release in a slot; it outlives the agent."""

    def stop(self, slot: str) -> None:
        """End what runs in a slot; nothing to do is fine."""

    def alive(self, slot: str) -> Identity | None:
        """What runs in a slot now."""

    def log_tail(self, slot: str, count: int) -> list[str]:
        """The last lines that the slot wrote."""


def image_of(layout: Layout, release: Release) -> Image:
    """What a release runs on this robot. Raises IncompatibleError when it has nothing for it."""
    row_arch = Robot.load(layout.robot_toml).row_arch
    if row_arch not in release.images:
        known = ", ".join(sorted(release.images))
        raise IncompatibleError(f"release {release.version}: has no image for {row_arch} (it has {known})")
    return release.images[row_arch]


def check_mounted(layout: Layout, names: Iterable[str]) -> None:
    """Raises RefusedError for a folder of ROOT that is a symbolic link.

    Links and containers lead through these folders, and would miss it.
    """
    for name in names:
        if (path := layout.root / name).is_symlink():
            raise RefusedError(
                f"{path}: is a symbolic link, which links and containers do not follow; mount the other disk there "
                "(mount --bind)"
            )


def proc_stat(pid: int, proc: Path = Path("/proc")) -> list[str] | None:
    """The fields of /proc/PID/stat from the third on (state, parent, …); None when it is gone or a zombie."""
    try:
        fields = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot."""
    fields = proc_stat(pid)
    return None if fields is None else int(fields[19])


def remember(path: Path, identity: Identity, host_pid: int) -> None:
    """Note who runs in a slot, for `recall` of this agent or the next one."""
    write_volatile(path, dump({**asdict(identity), "host_pid": host_pid}))


def recall(path: Path) -> Identity | None:
    """Who was noted, while that very process lives."""
    noted = _noted(path)
    return None if noted is None else noted[0]


def recall_host_pid(path: Path) -> int | None:
    """What this machine calls the process that was noted, while that very process lives."""
    noted = _noted(path)
    return None if noted is None else noted[1]


def _noted(path: Path) -> tuple[Identity, int] | None:
    try:
        reader = Reader(parse(path.read_bytes(), path.name), path.name)
        identity, host_pid = fill(Identity, reader), reader.integer("host_pid")
    except (OSError, HomeportError):
        return None
    return (identity, host_pid) if _lives(identity, host_pid) else None


def _lives(identity: Identity, host_pid: int) -> bool:
    return identity.boot == boot_id() and start_ticks(host_pid) == identity.start_ticks


class Notes:
    """Who runs in each slot, noted in RUN for the next agent.

    This agent knows it as well, and notes it again when somebody has swept that folder: a policy that nobody knows of
    would be started twice.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._known: dict[str, tuple[Identity, int]] = {}

    def note(self, slot: str, identity: Identity, host_pid: int) -> None:
        """`host_pid` is what this machine calls the process."""
        self._known[slot] = (identity, host_pid)
        remember(self._layout.slot_process(slot), identity, host_pid)

    def find(self, slot: str) -> Identity | None:
        """Who runs in a slot, while that very process lives."""
        if (noted := recall(self._layout.slot_process(slot))) is not None:
            return noted
        identity, host_pid = self._known.get(slot, (None, 0))
        if identity is None or not _lives(identity, host_pid):
            return None
        self.note(slot, identity, host_pid)
        return identity

    def forget(self, slot: str) -> None:
        """Nobody runs there any more."""
        self._known.pop(slot, None)
        self._layout.slot_process(slot).unlink(missing_ok=True)
