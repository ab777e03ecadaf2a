"""How a release runs, apart from when: the stages know only this protocol, so that plain processes and containers share them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from model_registry.core.release import Release


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for good: a pid is used again, a pid with its start time in one boot is not."""

    pid: int
    start_ticks: int
    boot: str


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run: argument list and whole environment."""

    argv: tuple[str, ...]
    environment: dict[str, str]


class Runtime(Protocol):
    """Starts, stops and recognises what runs in slots, and runs a release's own tools."""

    def check(self, release: Release) -> None:
        """Raises IncompatibleError when this robot has no place for the release."""

    def install(self, release: Release, fetched: Path) -> None:
        """Turn the image in the folder `fetched` into something that starts at once."""

    def tool(self, release: Release, module: str, *arguments: str) -> Command:
        """How to run one of the release's own Python modules."""

    def start(self, slot: str, release: Release) -> Identity:
        """Start the release in a slot; it outlives the agent."""

    def stop(self, slot: str) -> None:
        """End what runs in a slot; nothing to do is fine."""

    def alive(self, slot: str) -> Identity | None:
        """What runs in a slot now."""

    def log_tail(self, slot: str, count: int) -> list[str]:
        """The last lines that the slot wrote."""
