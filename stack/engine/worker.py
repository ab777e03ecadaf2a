"""Builds in a child process, so that a builder that crashes, swells or hangs takes nothing with it.

The child has the lowest priority and a memory cap of three quarters of what is free; it dies with its parent. It may be
stopped and continued: its silence counts only while it could speak. The order goes in on stdin; progress and the
outcome come back on stdout, one JSON document a line.
"""

from __future__ import annotations

import json
import os
import resource
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from model_registry.core.contract import Contract
from model_registry.core.documents import Reader, dump, parse
from model_registry.core.errors import HomeportError, from_exit_code
from stack.engine import wiring
from stack.engine.backends import Job, choose
from stack.engine.machine import end_with_parent, free_memory_bytes, step_back

_SILENCE_S = 3600.0
_POLL_S = 1.0


@dataclass(frozen=True)
class BuildOrder:
    """What the child is told: a backend's name, and what `Job` needs, as text."""

    backend: str
    precision: str
    options: dict[str, float | str | bool]
    model: str
    target: str
    scratch: str
    timing: str


def argv() -> list[str]:
    """The child's command."""
    return [sys.executable, "-m", "stack.engine.worker", str(os.getpid())]


def build(order: BuildOrder, say: Callable[[str], None], silence_s: float = _SILENCE_S) -> str:
    """Run `order` in a child; the precision of what it built. Raises the error that it ended with."""
    with (Path(order.scratch) / "log").open("w+b") as log:
        environment = {**os.environ, "TMPDIR": order.scratch}  # in a container /tmp is memory
        process = subprocess.Popen(argv(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment)
        try:
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # it is gone already, and its log says why
                process.stdin.write(dump(asdict(order)))
                process.stdin.close()
            for line in _lines(process, silence_s):
                event = Reader(parse(line, "builder"), "builder")
                if event.has("precision"):
                    return event.text("precision")
                if event.has("error"):
                    raise from_exit_code(event.integer("code"), event.text("error"))
                say(event.text("say"))
        finally:
            process.kill()
            code = process.wait()
            assert process.stdout is not None
            process.stdout.close()
        log.seek(0)
        tail = " ".join(log.read().decode(errors="replace").split())[-300:]
    raise HomeportError(f"the builder ended with {code} and no result ({tail}); a signal 9 is mostly too little memory")


def _lines(process: subprocess.Popen[bytes], limit_s: float) -> Iterator[bytes]:
    assert process.stdout is not None
    source = process.stdout.fileno()
    rest = b""
    silent_s = 0.0
    while silent_s < limit_s:
        if not select.select([source], [], [], _POLL_S)[0]:
            silent_s += 0.0 if _stopped(process.pid) else _POLL_S
            continue
        silent_s = 0.0
        data = os.read(source, 65_536)
        if not data:
            return
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
    raise HomeportError(
        f"the builder said nothing for {limit_s:.0f} s and was ended; try again, or choose another backend"
    )


def _stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith(("T", "t"))


def main() -> None:
    """The child. Whatever a library prints goes to the log."""
    end_with_parent(int(sys.argv[1]))
    step_back()
    limit = free_memory_bytes() * 3 // 4
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with os.fdopen(os.dup(1), "w", buffering=1) as out, redirect_stdout(sys.stderr):
        os.dup2(2, 1)
        try:
            order = BuildOrder(**json.loads(sys.stdin.buffer.read()))
            _tell(out, say=f"Building in process {os.getpid()} with at most {limit >> 20} MiB.")
            _tell(out, precision=_run(order, lambda text: _tell(out, say=text)))
        except HomeportError as error:
            _tell(out, error=str(error), code=error.exit_code)
        except OSError as error:
            _tell(out, error=f"{order.model}: cannot be built: {error}", code=1)
        except MemoryError:
            _tell(
                out,
                error=f"{order.model}: building takes more than {limit} bytes; free memory or build elsewhere",
                code=1,
            )


def _run(order: BuildOrder, say: Callable[[str], None]) -> str:
    model, target, scratch, timing = map(Path, (order.model, order.target, order.scratch, order.timing))
    contract = Contract.load(model)
    first = contract.graphs[0]
    job = Job(model, contract, first, order.precision, order.options, target, scratch, timing, say)
    return wiring.build(choose((order.backend,)).kind, job)


def _tell(out: TextIO, **event: object) -> None:
    out.write(dump(event).decode() + "\n")


if __name__ == "__main__":
    main()
