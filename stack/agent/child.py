"""Run one program of a release or of the device, relay its progress, and turn its last words into our error."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError, UsageError, from_exit_code
from stack.agent.runtime import Command

MAX_OUTPUT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a child printed on stdout, its exit code, and its last error line."""

    code: int
    stdout: bytes
    error: str

    def reader(self, what: str) -> Reader:
        """stdout as one JSON object. Raises the child's error, or HomeportError when it said nothing useful."""
        if not self.stdout.strip():
            raise from_exit_code(self.code or 1, self.error or f"{what}: ended with exit {self.code} and no result")
        try:
            return Reader(parse(self.stdout, what, MAX_OUTPUT_BYTES), what)
        except UsageError as error:
            raise HomeportError(str(error)) from error

    def checked(self, what: str) -> Reader:
        """The same, for a child that must have ended with 0."""
        if self.code != 0:
            raise from_exit_code(self.code, self.error or f"{what}: ended with exit {self.code}")
        return self.reader(what)


def nice_argv(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The same program at low priority: it must not take time from the control loop."""
    return ("/usr/bin/nice", "-n", "10", *argv)


def run(command: Command, timeout_s: float, on_line: Callable[[str], None]) -> Outcome:
    """Run to the end; every stderr line goes to `on_line`. Raises HomeportError when it takes longer than `timeout_s`."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command.argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            env=command.environment,
            cwd="/",
        )
        assert process.stderr is not None
        last: deque[str] = deque(maxlen=20)
        relay = threading.Thread(target=_relay, args=(process.stderr, last, on_line), daemon=True)
        relay.start()
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise HomeportError(f"{command.argv[-1]}: did not end within {timeout_s:.0f} s; try again") from None
        finally:
            process.kill()
            process.wait()
            relay.join(2.0)
            process.stderr.close()
        output.seek(0)
        return Outcome(code, output.read(MAX_OUTPUT_BYTES), _error_of(last))


def _relay(stream: IO[bytes], last: deque[str], on_line: Callable[[str], None]) -> None:
    for raw in stream:
        line = raw.decode("utf-8", "replace").rstrip()[:1000]
        last.append(line)
        if line and not line.startswith("error: "):
            on_line(line)


def _error_of(last: deque[str]) -> str:
    errors = [line[7:] for line in last if line.startswith("error: ")]
    return errors[-1] if errors else (last[-1] if last else "")
