"""Locks between processes on one machine. The kernel drops them when their holder dies, so there is nothing to clean up."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_registry.core.errors import LockedError

_POLL_S = 0.05


@contextmanager
def held(path: Path, timeout_s: float, what: str) -> Iterator[None]:
    """Hold the lock file `path`, waiting at most `timeout_s` seconds for another holder. Raises LockedError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(descriptor, path, timeout_s, what)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"{what}: another process holds {path} for more than {timeout_s:.0f} s; wait for it, then try again"
                ) from error
            time.sleep(_POLL_S)
        else:
            return
