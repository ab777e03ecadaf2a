"""Run one program: a tool of a release, with its progress, or a short one of the host.

The last words of a program that fails become our error.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError, IncompatibleError, UsageError, from_exit_code
from stack.agent.reports import CalledOff

MAX_OUTPUT_BYTES = 1 << 20
_TIMEOUT_S = 3600.0
_POLL_S = 0.2


_RESTART = {"docker": "its daemon hangs; restart it (systemctl restart containerd docker)"}
"""What to do about a program that does not answer, because what it asks hangs.

Docker hangs as well when only its containerd does, and is then not started again without it.
"""


class SilentError(HomeportError):
    """A short program of the host did not answer in time."""


def _silent(what: str, timeout_s: float) -> SilentError:
    """The error of a program that was waited for in vain, with what to do about what it asks."""
    advice = _RESTART.get(what.partition(" ")[0], "look at the robot")
    return SilentError(f"{what}: no answer within {timeout_s:.0f} s; {advice}")


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run: argument list and whole environment; `clear` removes what an earlier run has left."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    clear: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProgramOutcome:
    """What a child printed on stdout, its exit code, and its last error line."""

    code: int
    stdout: bytes
    error: str

    def reader(self, what: str, *allowed: int) -> Reader:
        """stdout as one JSON object.

        Raises the child's error when it ended with another code than 0 or `allowed`, or said nothing.
        """
        failed = self.code not in (0, *allowed)
        if failed or not self.stdout.strip():
            words = f"{what}: ended with exit {self.code}{'' if failed else ' and no result'}"
            raise from_exit_code(self.code or 1, self.error or words)
        try:
            return Reader(parse(self.stdout, what, MAX_OUTPUT_BYTES), what)
        except UsageError as error:
            raise HomeportError(str(error)) from error


def _says(line: str) -> bool:
    """Whether it is more than the hint where to read on with which Docker ends."""
    return bool(line.strip()) and "--help'" not in line


def _last_words(text: str, code: int) -> str:
    return next((line for line in reversed(text.splitlines()) if _says(line)), f"exit {code}")


def ask(*argv: str, timeout_s: float = 30.0) -> str:
    """stdout of a short program.

    Raises IncompatibleError when it is not there, SilentError when it hangs, HomeportError with its last words.
    """
    what = " ".join(argv[:2])
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout_s
        )
    except FileNotFoundError:
        raise IncompatibleError(f"{argv[0]}: not installed here; apply the role `device`") from None
    except subprocess.TimeoutExpired:
        raise _silent(what, timeout_s) from None
    if done.returncode != 0:
        raise HomeportError(f"{what}: {_last_words(done.stderr, done.returncode)}")
    return done.stdout


def pieces(*argv: str) -> Iterator[bytes]:
    """stdout of a program in pieces of 1 MiB.

    Raises HomeportError with its last words when it does not end well; it is ended when nobody reads on.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
        assert process.stdout is not None
        try:
            while piece := process.stdout.read(1 << 20):
                yield piece
            code = process.wait(60.0)
        except subprocess.TimeoutExpired:
            raise HomeportError(f"{' '.join(argv[:2])}: does not end; look at the robot") from None
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        errors.seek(0)
        if code != 0:
            words = _last_words(errors.read(MAX_OUTPUT_BYTES).decode("utf-8", "replace"), code)
            raise HomeportError(f"{' '.join(argv[:2])}: {words}")


def run(
    command: Program, on_line: Callable[[str], None], stop: threading.Event, timeout_s: float = _TIMEOUT_S
) -> ProgramOutcome:
    """Run to the end; every stderr line goes to `on_line`.

    Raises CalledOff on `stop`, HomeportError when it takes longer than `timeout_s`.
    """
    _clear(command)
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
        last = [""]
        relay = threading.Thread(target=_relay, args=(process.stderr, last, on_line), daemon=True)
        relay.start()
        try:
            code = _wait(process, command.argv[-1], stop, timeout_s)
        except HomeportError:
            _clear(command)
            raise
        finally:
            process.kill()
            process.wait()
            relay.join(2.0)
            process.stderr.close()
        output.seek(0)
        return ProgramOutcome(code, output.read(MAX_OUTPUT_BYTES), last[0].removeprefix("error: "))


def _wait(process: subprocess.Popen[bytes], name: str, stop: threading.Event, timeout_s: float) -> int:
    deadline = time.monotonic() + timeout_s
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_POLL_S)
        if stop.is_set():
            raise CalledOff("called off by a rollback; what was fetched and built stays for the next time")
        if time.monotonic() >= deadline:
            raise HomeportError(f"{name}: did not end within {timeout_s:.0f} s; try again")


def _clear(command: Program) -> None:
    """Remove what an earlier run has left, or this one that does not end."""
    if command.clear:
        null = subprocess.DEVNULL
        try:
            subprocess.run(command.clear, stdin=null, stdout=null, stderr=null, env=command.environment, timeout=60)
        except subprocess.TimeoutExpired:
            raise _silent(" ".join(command.clear[:2]), 60.0) from None


def _relay(stream: IO[bytes], last: list[str], on_line: Callable[[str], None]) -> None:
    """Keep the last line, or the last `error: ` line if there was one."""
    for raw in stream:
        line = raw.decode("utf-8", "replace").rstrip()[:1000]
        is_error = line.startswith("error: ")
        if is_error or (_says(line) and not last[0].startswith("error: ")):
            last[0] = line
        if line and not is_error:
            on_line(line)
