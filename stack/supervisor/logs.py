"""The log of a process that never waits for its reader.

Standard error may lead to a program that stands still or to a disk that does, and whoever writes to it then stands as
well. So the descriptors 1 and 2 become a pipe of the process's own whose writing end never blocks: the log lines of
Python, the middleware's libraries and tracebacks go there. A thread carries them to the real standard error, and waits
for that as long as it must. Lines that do not fit meanwhile are lost and counted.

    logs = Logs()     first of all
    logs.start()      when the process has the priority that its threads shall inherit
    logs.end(0.5)     last of all
"""

from __future__ import annotations

import codecs
import logging
import os
import select
import threading
import time
import traceback
from contextlib import suppress
from types import TracebackType

from model_registry.core.logs import LineFormatter
from model_registry.core.visible import visible, visible_lines
from stack.supervisor import priority
from stack.supervisor.throttle import Throttle

_STDOUT = 1
_STDERR = 2
# The kernel takes a piece of this size as a whole or not at all (PIPE_BUF), so lines of several threads stay apart.
_PIECE_BYTES = 4096
_LONGEST_BYTES = 4 * _PIECE_BYTES
_READ_BYTES = 65_536
_LOOK_S = 1.0
_MOST_FRAMES = 100
_Raised = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _Pipe:
    """Standard error as a stream for logging. `lost` counts lines that found no room; it only grows."""

    def __init__(self) -> None:
        self.lost = 0

    def write(self, text: str) -> None:
        data = text.encode(errors="backslashreplace")
        if len(data) > _LONGEST_BYTES:
            data = data[:_LONGEST_BYTES] + b" (cut)\n"
        for start in range(0, len(data), _PIECE_BYTES):
            try:
                os.write(_STDERR, data[start : start + _PIECE_BYTES])
            except BlockingIOError:
                self.lost += 1
                return

    def flush(self) -> None:
        """Nothing is kept here."""


class _Formatter(LineFormatter):
    """Formats without a look at any file, because the disk may stand still.

    Local time would read the time zone, and a traceback the source.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self.converter = time.gmtime

    def formatException(self, ei: _Raised) -> str:
        lines: list[str] = []
        error = ei[1]
        while error is not None and len(lines) < _MOST_FRAMES:
            frames = traceback.walk_tb(error.__traceback__)
            lines += [f"  {frame.f_code.co_filename}:{number} in {frame.f_code.co_name}" for frame, number in frames]
            lines.append(visible(f"{type(error).__name__}: {error}"))
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "\n".join(lines)


class Logs:
    """From its making on, writing to descriptors 1 and 2 does not block.

    `terminal` is the real standard error, for the last words of a process.
    """

    def __init__(self) -> None:
        self.terminal, self._output = os.dup(_STDERR), os.dup(_STDOUT)
        self._reader, writer = os.pipe()
        os.set_blocking(writer, False)
        for descriptor in (_STDOUT, _STDERR):
            os.dup2(writer, descriptor)
        os.close(writer)
        self._pipe, self._throttle, self._told = _Pipe(), Throttle(), 0
        self._handler = logging.StreamHandler(self._pipe)
        self._handler.setFormatter(_Formatter())
        self._handler.addFilter(self._throttle)
        logging.basicConfig(level=logging.INFO, handlers=[self._handler])
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._thread = threading.Thread(target=self._carry, name="log", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self, timeout_s: float) -> None:
        """Write what is left, for at most `timeout_s` seconds, and give back the descriptors whose reader reads."""
        for record in self._throttle.release():
            self._handler.handle(record)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (_STDOUT, _STDERR):
            os.dup2(nowhere, descriptor)  # the thread finds the end of the pipe
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            os.dup2(self._output, _STDOUT)
            os.dup2(self.terminal, _STDERR)

    def _carry(self) -> None:
        priority.step_back("log")
        share = priority.Share()
        while True:
            if not self._filled(0.0):
                self._tell_lost()
            if self._filled(_LOOK_S):
                data = os.read(self._reader, _READ_BYTES)
                # The middleware's libraries write here as well, and quote names that other machines have chosen.
                self._write(visible_lines(self._decoder.decode(data, final=not data)).encode())
                if not data:
                    self._tell_lost()
                    return
            for record in self._throttle.overdue():
                self._handler.handle(record)
            share.rest()

    def _filled(self, timeout_s: float) -> bool:
        """Whether the pipe has something, its end included, within `timeout_s` seconds."""
        return bool(select.select([self._reader], [], [], timeout_s)[0])

    def _tell_lost(self) -> None:
        """Say how many lines were lost, when all that came before them was read."""
        lost = self._pipe.lost - self._told
        if lost:
            self._told += lost
            self._write(f"{lost} lines of this log were lost here: nobody read it\n".encode())

    def _write(self, data: bytes) -> None:
        """Wait until everything is written; what the system refuses (a full disk, a reader that is gone) is lost."""
        with suppress(OSError):
            while data:
                try:
                    data = data[os.write(self.terminal, data) :]
                except BlockingIOError:  # somebody else made it so
                    select.select([], [self.terminal], [], _LOOK_S)
