"""`make demo` that is interrupted, by a person or for good: no robot of it is left running.

Two demos are begun beside each other: nothing has to drive before they are ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.fakes.ros import wait_until
from tests.integration.test_demo import REPOSITORY, argv, ended, run
from tests.testbed.leftovers import started_in

COMES_S = 180.0


class Telling:
    """A demo that is told until it is interrupted; its page would be in `out`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.lines: list[str] = []

    def __enter__(self) -> Telling:
        self._ended = ended(self.out)
        self._ended.__enter__()
        self.program = subprocess.Popen(
            argv(self.out), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.program.stdout or ()), daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.program.kill()
        self.program.wait(10.0)
        self._ended.__exit__(None, None, None)
        self._reader.join(10.0)
        if self.program.stdout is not None:
            self.program.stdout.close()

    def wait_deploying(self) -> Path:
        """Until three robots run and get their first release; the folder of the robots."""
        wait_until(lambda: any("Deploying 1.0.0" in line for line in self.lines), COMES_S, "the first deploy")
        folder = Path(json.loads((self.out / "running.json").read_text())["folder"])
        assert len(started_in(folder)) >= 12, "three robots run"
        return folder

    def interrupt(self, number: signal.Signals) -> int:
        """Send it a signal; its exit code."""
        os.kill(self.program.pid, number)
        code = self.program.wait(60.0)
        self._reader.join(10.0)
        return code

    def nothing_of(self, folder: Path) -> bool:
        """Whether no process, folder or note of its robots is left."""
        return started_in(folder) == [] and not folder.exists() and not (self.out / "running.json").exists()


@pytest.mark.timeout(420)
def test_a_demo_that_is_interrupted_leaves_nothing_running(tmp_path: Path) -> None:
    with Telling(tmp_path / "asked") as asked, Telling(tmp_path / "killed") as killed:
        robots = asked.wait_deploying()
        code = asked.interrupt(signal.SIGTERM)

        assert code == 1 and asked.lines[-1] == "stopped; everything that was started was ended\n", asked.lines
        assert asked.nothing_of(robots)

        robots = killed.wait_deploying()
        killed.interrupt(signal.SIGKILL)

        assert started_in(robots) != [], "nobody could end them"
        assert run(killed.out, "--down").returncode == 0
        assert killed.nothing_of(robots)
