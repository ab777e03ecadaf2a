"""A pull that loses its link: begun again where something came, and told to whoever looks."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model_registry.core.errors import HomeportError, LinkError
from stack.agent.change.pulling import Pulling
from stack.agent.machine.child import Program
from stack.agent.reports import CalledOff

TOOL = """
import json, sys, pathlib
runs = pathlib.Path(sys.argv[1])
number = len(runs.read_text()) if runs.exists() else 0
runs.write_text("x" * (number + 1))
done = int(sys.argv[2].split(",")[min(number, len(sys.argv[2].split(",")) - 1)])
if done:
    print("progress: " + json.dumps({"done": done, "total": 100, "rate": 7, "left_s": 3}), file=sys.stderr)
print("Pulling it", file=sys.stderr)
if done < 100:
    print("error: https://site: GET broke off", file=sys.stderr)
    sys.exit(7)
print(json.dumps({"bytes_fetched": 100}))
"""


class Staging:
    """What Pulling sees of a deployment, and a tool whose runs end after so many bytes of a hundred."""

    def __init__(self, folder: Path, done: str) -> None:
        self.said: list[str] = []
        self.transfers: list[Any] = []
        self.host = SimpleNamespace(work=SimpleNamespace(abort=threading.Event()))
        self.runs = folder / "runs"
        environment = {"PATH": os.environ["PATH"]}
        self.program = Program((sys.executable, "-c", TOOL, str(self.runs), done), environment)

    def say(self, text: str) -> None:
        self.said.append(text)

    @property
    def transfer(self) -> Any:
        return self.transfers[-1] if self.transfers else None

    @transfer.setter
    def transfer(self, value: Any) -> None:
        self.transfers.append(value)

    def pull(self, give_up_s: float = 60.0) -> int:
        pulling = Pulling(self, give_up_s, first_pause_s=0.01)  # type: ignore[arg-type]
        return pulling.run(self.program, "model pull").integer("bytes_fetched")


def test_a_link_that_is_lost_twice_costs_no_stage(tmp_path: Path) -> None:
    staging = Staging(tmp_path, "40,70,100")
    assert staging.pull() == 100
    assert [each and each.done for each in staging.transfers] == [40, 70, 100, None]
    assert sum("What arrived is kept; goes on in" in line for line in staging.said) == 2
    assert staging.said.count("Pulling it") == 3 and not any("progress" in line for line in staging.said)


def test_a_source_that_never_gave_a_byte_fails_at_once(tmp_path: Path) -> None:
    staging = Staging(tmp_path, "0")
    with pytest.raises(LinkError, match="GET broke off"):
        staging.pull()
    assert staging.runs.read_text() == "x"


def test_a_link_that_stays_away_is_given_up(tmp_path: Path) -> None:
    staging = Staging(tmp_path, "40")
    with pytest.raises(HomeportError, match="GET broke off"):
        staging.pull(give_up_s=0.5)
    assert len(staging.runs.read_text()) > 1


def test_a_rollback_ends_the_wait(tmp_path: Path) -> None:
    staging = Staging(tmp_path, "40")
    timer = threading.Timer(0.5, staging.host.work.abort.set)
    timer.start()
    began_s = time.monotonic()
    with pytest.raises(CalledOff):
        Pulling(staging, 3600.0, first_pause_s=600.0).run(staging.program, "model pull")  # type: ignore[arg-type]
    assert time.monotonic() - began_s < 30.0
    timer.join()
