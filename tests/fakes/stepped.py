"""Programs on PATH that count what a script calls, and kill it before or after the call of a given number, as `kill -9`
or a power cut would.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Thousands of these are started: nothing in it forks but the step that is killed after its call.
_STEP = """#!/bin/sh
number=1
while read -r _; do number=$((number + 1)); done <"{calls}"
echo "{name} $*" >>"{calls}"
[ "$number" != "$KILL_BEFORE" ] || kill -9 0
[ "$number" = "$KILL_AFTER" ] || exec {real} "$@"
{real} "$@"
kill -9 0
"""
_QUICK = ("sleep", "logger")


@dataclass(frozen=True)
class Stepped:
    """A folder for PATH.

    `sleep` and `logger` return at once; the other names do what they do, one counted step each.
    """

    folder: Path

    @classmethod
    def install(cls, folder: Path, names: tuple[str, ...]) -> Stepped:
        folder.mkdir()
        for name in (*names, *_QUICK):
            real = "true" if name in _QUICK else shutil.which(name)
            path = folder / name
            path.write_text(_STEP.format(calls=folder / "calls", name=name, real=real))
            path.chmod(0o755)
        return cls(folder)

    def run(self, *argv: str | Path, before: int = 0, after: int = 0) -> subprocess.CompletedProcess[str]:
        """Run to the end, or to the step at which it is killed; exit code -9 then."""
        (self.folder / "calls").write_text("")
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "KILL_BEFORE": str(before), "KILL_AFTER": str(after)}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, start_new_session=True, timeout=60)

    def calls(self) -> list[str]:
        """What was called, in order, each with its arguments."""
        return (self.folder / "calls").read_text().splitlines()
