"""The site's own program that says whether the robot may be touched: docked, nothing in its gripper, no job under way.

What it does not say is a no.

It runs without a shell, with an empty environment, as an account without rights, and gets what is asked of the robot
(`idle` or `moving`) as its last argument. Yes is exit code 0 with nothing on stdout or with `{"ok": true}`; everything
else is "not now": `{"ok": false, "reason": "…"}`, another exit code (the first line is the reason), no end within
`timeout_s`, or words that nobody can read. `lease_s` in the document says how long a yes holds.
"""

from __future__ import annotations

import os
import pwd
import select
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import IO, Any

from model_registry.core.documents import Reader, parse
from model_registry.core.errors import HomeportError, UsageError

_MAX_BYTES = 4096
_TIMEOUT_S = 10.0
_USER = "nobody"


@dataclass(frozen=True, slots=True)
class HookAnswer:
    """`reason` is why not; None is yes, for `lease_s` seconds where the program names them."""

    reason: str | None
    lease_s: float | None = None


@dataclass(frozen=True, slots=True)
class Hook:
    """`user` is the account it runs under, where the agent may choose one."""

    command: tuple[str, ...]
    timeout_s: float = _TIMEOUT_S
    user: str = _USER

    @classmethod
    def read(cls, reader: Reader) -> Hook:
        """Raises UsageError naming the key."""
        command = reader.texts("command")
        if not command or not command[0].startswith("/"):
            raise UsageError(f"{reader.path}.command: expected a list that begins with an absolute path")
        user = reader.text("user") if reader.has("user") else _USER
        return cls(command, reader.number_or("timeout_s", _TIMEOUT_S, 0.1, 60.0), user)

    def ask(self, kind: str) -> HookAnswer:
        """Run it once; never raises."""
        try:
            return _read(*self._run(kind))
        except (HomeportError, OSError, KeyError, subprocess.SubprocessError) as error:
            return HookAnswer(f"its hook {self.command[0]} gave no answer: {error}")

    def _run(self, kind: str) -> tuple[int, bytes]:
        """Exit code and stdout. Raises HomeportError when it is too slow or says too much."""
        null = subprocess.DEVNULL
        rights = self._rights()
        process = subprocess.Popen(
            (*self.command, kind),
            stdin=null,
            stdout=subprocess.PIPE,
            stderr=null,
            env={},
            cwd="/",
            start_new_session=True,
            **rights,
        )
        assert process.stdout is not None
        deadline = time.monotonic() + self.timeout_s
        try:
            said = _until_end(process.stdout, deadline)
            return process.wait(max(0.01, deadline - time.monotonic())), said
        except (HomeportError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise HomeportError(
                f"it did not end within {self.timeout_s:g} s, or said more than {_MAX_BYTES} bytes"
            ) from None
        finally:
            process.stdout.close()

    def _rights(self) -> dict[str, Any]:
        """Only root can give its rights away; elsewhere it runs as the agent does."""
        if os.geteuid() != 0:
            return {}
        account = pwd.getpwnam(self.user)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _until_end(stream: IO[bytes], deadline: float) -> bytes:
    said = b""
    while len(said) <= _MAX_BYTES and select.select([stream], [], [], max(0.0, deadline - time.monotonic()))[0]:
        if not (more := os.read(stream.fileno(), _MAX_BYTES)):
            return said
        said += more
    raise HomeportError("it does not end")


def _read(code: int, said: bytes) -> HookAnswer:
    """The verdict of one run. Raises UsageError for words that are no answer."""
    if code == 0 and not said.strip():
        return HookAnswer(None)
    if code != 0 and not said.lstrip().startswith(b"{"):
        first = said.decode("utf-8", "replace").strip().splitlines()
        return HookAnswer(first[0][:200] if first else f"its hook ended with exit {code}")
    reader = Reader(parse(said, "its hook's answer"), "its hook's answer")
    agrees = reader.boolean("ok")
    lease_s = reader.number("lease_s", 0.0, 3600.0) if reader.has("lease_s") else None
    reason = reader.text("reason")[:200] if reader.has("reason") else f"its hook says no (exit {code})"
    reader.done()
    return HookAnswer(None, lease_s) if agrees and code == 0 else HookAnswer(reason)
