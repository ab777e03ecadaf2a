"""A standard error that leads to a program that stands still: a pipe that is full, and that nobody reads until a test
does.
"""

from __future__ import annotations

import fcntl
import os
import select
import time
from contextlib import suppress

_PAGE_BYTES = 4096
_FILLING = b"." * _PAGE_BYTES


class Unread:
    """A context manager. `writer` is what to give a child as its standard error."""

    def __enter__(self) -> Unread:
        self._reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, _PAGE_BYTES)
        os.set_blocking(self.writer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(self.writer, _FILLING)
        os.set_blocking(self.writer, True)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.writer)
        os.close(self._reader)

    def read_until(self, words: str, deadline_s: float) -> str:
        """Read at last; everything up to `words`. Raises AssertionError when they do not come."""
        read, deadline = b"", time.monotonic() + deadline_s
        while words.encode() not in read:
            ready, _, _ = select.select([self._reader], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"waited {deadline_s} s for {words!r}; read {read[-2000:]!r}"
            read += os.read(self._reader, 65_536)
        return read.decode(errors="replace")
