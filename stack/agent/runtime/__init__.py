"""How a release runs, apart from when.

The stages know only this protocol, so that plain processes and containers share them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from model_registry.core.digest import Digest
from model_registry.core.errors import HomeportError, IncompatibleError, RefusedError
from model_registry.core.layout import Layout, ReleaseFolder
from model_registry.core.release import Release, ReleaseImage
from model_registry.core.robot import Robot
from stack.agent.machine.child import Program
from stack.agent.machine.processes import ProcessId
from stack.agent.machine.room import Need
from stack.agent.reports import Removed


class PolicyEndedError(HomeportError):
    """A policy that was started in a slot ended by itself before anything was heard of it."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified release that is to be installed.

    Its folder, where it came from, and the bytes of its image that did not come with it.
    """

    folder: ReleaseFolder
    source: str
    image_bytes: int


class Runtime(Protocol):
    """Starts, stops and recognises what runs in slots, and runs a release's own tools."""

    def preflight(self) -> None:
        """Raises IncompatibleError when nothing can be fetched and run here."""

    def trouble(self) -> str | None:
        """Why what runs containers here does not answer within seconds, and what to do; None when it does, or when
        nothing is needed for them.
        """

    def check(self, release: Release) -> None:
        """Raises IncompatibleError when this robot has no place for the release. Stops nothing."""

    def installed(self, release: Release, folder: ReleaseFolder) -> bool:
        """Whether the image of a release is here, or a copy from which `ensure` brings it back."""

    def ensure(self, release: Release) -> None:
        """Look whether the image of a release is whole, and bring it back from its copy when it is not.

        Raises RefusedError when that cannot be.
        """

    def room(self, compressed_bytes: int) -> tuple[Need, ...]:
        """What an image of so many compressed bytes will take, and where."""

    def copy(self, release: Release, rest: Callable[[], None]) -> None:
        """Make the copy of a release's image if there is none yet.

        `rest` is called between its pieces and may take its time.
        """

    def prune(self, kept: Collection[Digest], dry_run: bool) -> list[Removed]:
        """Remove images and copies but `kept`, which are named as releases name them.

        What is returned was removed, or would be.
        """

    def install(self, release: Release, fetched: Fetched) -> None:
        """Turn what was fetched into something that starts at once."""

    def device_tool(self, module: str, *arguments: str) -> Program:
        """How to run a Python module of the device's own installation, before the release's code is here."""

    def tool(self, release: Release, module: str, *arguments: str) -> Program:
        """How to run one of the release's own Python modules beside what drives."""

    def start(self, slot: str, release: Release) -> ProcessId:
        """Start the release in a slot; it outlives the agent. Raises PolicyEndedError where it ends at once."""

    def stop(self, slot: str) -> None:
        """End what runs in a slot; nothing to do is fine."""

    def alive(self, slot: str) -> ProcessId | None:
        """What runs in a slot now."""

    def log_tail(self, slot: str, count: int) -> list[str]:
        """The last lines that the slot wrote."""


def image_of(layout: Layout, release: Release) -> ReleaseImage:
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
