"""One change at a time: a flock that dies with its holder, and names who holds it."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import datetime, timezone
from pathlib import Path

from model_registry.core.errors import LockedError


class Claim:
    """A lock file that is held from `take` to `drop`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self, owner: str, verb: str) -> None:
        """Raises LockedError naming the holder and since when."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 4096, 0)
            os.close(descriptor)
            raise LockedError(f"{verb}: {_describe(holder)}; wait for it, or roll it back") from None
        since = datetime.now(timezone.utc).isoformat(timespec="seconds")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"owner": owner, "verb": verb, "since": since}).encode(), 0)
        self._descriptor = descriptor

    def drop(self) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _describe(data: bytes) -> str:
    try:
        holder = json.loads(data)
        return f"{holder['verb']} by {holder['owner']} is running since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        return "another change is running"
