"""Lets a fault happen exactly before or after the agent writes one record.

Runs on a bench robot, by its own Python, and starts a verb of the agent.

    python3 - '{"edge": "SWITCH:done", "number": 3, "moment": "before", "fault": "kill", "verb": ["switch",
    "sha256:…"]}'

The kernel asks this program whenever somebody opens the journal (fanotify), and the opener waits for the answer. The
agent opens it twice for a record: to append it, and to sync what it appended. *Before* is the first of the two, *after*
the second, when the whole record is in the file. Nothing of the agent is changed for this. The last line on stdout is
JSON; a power cut has none: the line `at the edge` asks for it.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

AGENT = "/usr/local/bin/homeport-agent"
ROOT = Path("/var/lib/homeport")
JOURNAL = ROOT / "journal.jsonl"
FILLER = ROOT / "filler"
REGISTRY = ("registry.bench", 5000)
DOCKER = ("docker.socket", "docker.service")
CLIENT_S = 75.0
LINGER_S = 20.0
CLOSING = ("READY:done", "COMMIT:done", "FAILED:done")
AT_THE_EDGE = "at the edge"
_CLASS_CONTENT, _CLOSE_ON_EXEC = 0x04, 0x01
_MARK_ADD, _OPEN_PERMISSION, _ALLOW = 0x01, 0x10000, 0x01
_AT_FDCWD = -100
_EVENT = struct.Struct("IBBHQii")
_LARGEST_DISK_BYTES = 4 << 30
_MOST_BYTES = 1 << 22


def run(*argv: str) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout.strip()


def main_pid(unit: str) -> int:
    return int(run("systemctl", "show", "--property", "MainPID", "--value", unit))


def gone(pid: int, deadline_s: float = 10.0) -> bool:
    """Whether a process ended, or ends until the deadline."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.005)
    return False


class Asked:
    """Who opens the journal, until the end of the block."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = libc.fanotify_init(_CLASS_CONTENT | _CLOSE_ON_EXEC, os.O_RDONLY | os.O_CLOEXEC)
        mask = ctypes.c_uint64(_OPEN_PERMISSION)
        path = os.fsencode(JOURNAL)
        if self.descriptor < 0 or libc.fanotify_mark(self.descriptor, _MARK_ADD, mask, _AT_FDCWD, path):
            raise OSError(ctypes.get_errno(), f"fanotify: {os.strerror(ctypes.get_errno())}", str(JOURNAL))

    def __enter__(self) -> Asked:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)  # which also answers what is open

    def waiting(self, timeout_s: float) -> Iterator[int]:
        """The pid of each that waits; it goes on when the next one is asked for."""
        if not select.select([self.descriptor], [], [], timeout_s)[0]:
            return
        data = os.read(self.descriptor, 64 * _EVENT.size)
        for offset in range(0, len(data), _EVENT.size):
            *_, journal, pid = _EVENT.unpack_from(data, offset)
            try:
                yield pid
            finally:
                os.write(self.descriptor, struct.pack("iI", journal, _ALLOW))
                os.close(journal)


class Strike:
    """One verb, one edge, one fault. `number` is how many records the verb writes before that of the edge."""

    def __init__(self, edge: str, number: int, moment: str, fault: str, verb: list[str]) -> None:
        self._edge, self._number, self._moment, self._verb = edge, number, moment, verb
        self._fault: Callable[[], object] = getattr(self, f"_{fault}")
        self._agent = main_pid("homeport-agent.service")
        self._journal = os.open(JOURNAL, os.O_RDONLY)
        self._start = self._synced = os.fstat(self._journal).st_size
        self._killed = False
        self.fired = self.answered = False
        self.edges: list[str] = []
        """What the verb had written when the fault came."""
        self._heal: list[Callable[[], object]] = []

    def run(self) -> dict[str, Any]:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as words, Asked() as asked:
            argv = [AGENT, "--json", *self._verb]
            client = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=words)
            try:
                self._watch(asked, client)
            finally:
                self.answered = client.poll() is not None
                client.kill()
                client.wait()
                for heal in self._heal:
                    heal()
            for file in (out, words):
                file.seek(0)
            reply = out.read().decode(errors="replace").strip()
            last = (words.read().decode(errors="replace").strip().splitlines() or [""])[-1]
        return {
            "fired": self.fired,
            "edges": self.edges,
            "exit_code": client.returncode if self.answered else None,
            "reply": json.loads(reply) if reply else None,
            "last_words": last,
        }

    def _watch(self, asked: Asked, client: subprocess.Popen[bytes]) -> None:
        """Wait until the verb has its answer and what it began is over.

        An agent that was killed ends that when it starts again.
        """
        deadline = time.monotonic() + CLIENT_S
        linger = deadline
        while time.monotonic() < min(deadline, linger):
            for pid in asked.waiting(0.05):
                if pid == self._agent and not self.fired and self._reached():
                    self.fired = bool(self._fault())
            if client.poll() is not None:
                if self._killed or (self.records()[-1:] or ["FAILED:done"])[0] in CLOSING:
                    return
                linger = min(linger, time.monotonic() + LINGER_S)

    def records(self) -> list[str]:
        """What the verb has written so far; the journal was opened before anybody was asked about that."""
        lines = os.pread(self._journal, _MOST_BYTES, self._start).split(b"\n")[:-1]
        return [f"{record['stage']}:{record['phase']}" for record in map(json.loads, lines)]

    def _reached(self) -> bool:
        """Whether the agent, which waits to open the journal, is where the fault belongs."""
        size = os.fstat(self._journal).st_size
        appends, self._synced = size == self._synced, size
        self.edges = self.records()
        if self._moment == "before":
            return appends and len(self.edges) == self._number
        return not appends and len(self.edges) == self._number + 1 and self.edges[-1] == self._edge

    # ---- the faults, which say whether they came to pass; what lasts until the verb has ended is healed then
    # --------------

    def _kill(self) -> bool:
        os.kill(self._agent, signal.SIGKILL)
        self._killed = gone(self._agent)
        return self._killed

    def _power_cut(self) -> bool:
        print(json.dumps({AT_THE_EDGE: self.edges}), flush=True)
        time.sleep(CLIENT_S)
        return False

    def _docker_killed(self) -> bool:
        """systemd starts it again, and it ends the containers that it finds."""
        daemon = main_pid("docker.service")
        os.kill(daemon, signal.SIGKILL)
        return gone(daemon)

    def _docker_stopped(self) -> bool:
        def start() -> None:
            run("systemctl", "unmask", "--runtime", "--quiet", *DOCKER)
            run("systemctl", "start", *DOCKER)

        self._heal.append(start)
        run("systemctl", "mask", "--runtime", "--quiet", *DOCKER)
        run("systemctl", "stop", *DOCKER)
        return subprocess.run(["docker", "info"], capture_output=True, timeout=30).returncode != 0

    def _source_cut(self) -> bool:
        route = ("unreachable", socket.gethostbyname(REGISTRY[0]))
        self._heal.append(lambda: run("ip", "route", "del", *route))
        run("ip", "route", "add", *route)
        try:
            socket.create_connection(REGISTRY, 2.0).close()
        except OSError:
            return True
        return False

    def _disk_full(self) -> bool:
        if shutil.disk_usage(ROOT).total > _LARGEST_DISK_BYTES:
            raise RuntimeError(f"{ROOT} is on a disk that others use")
        self._heal.append(lambda: FILLER.unlink(missing_ok=True))
        with FILLER.open("wb") as file:
            for piece in (1 << 24, 1 << 20, 1 << 16, 1 << 12):
                with suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, piece)
        return shutil.disk_usage(ROOT).free < 1 << 12


if __name__ == "__main__":
    print(json.dumps(Strike(**json.loads(sys.argv[1])).run()), flush=True)
