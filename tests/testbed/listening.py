"""The independent listener beside a played robot: the process of listener.py, read while it writes."""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any

from tests.fakes.ros import Process, wait_until
from tests.testbed.played import LISTENER, PlayedRobot

DEADLINE_S = 10.0
WRITTEN_S = 0.2  # until what was heard is in the file


class Listening:
    """`records` grows by what the listener wrote; see listener.py for the kinds."""

    def __init__(self, robot: PlayedRobot) -> None:
        self._path = robot.folder / "heard.jsonl"
        self._process = Process(
            [robot.python, str(LISTENER), str(self._path)], robot.environment, robot.folder / "listener.log"
        )
        self.records: list[dict[str, Any]] = []
        self._at, self._torn = 0, ""

    def __enter__(self) -> Listening:
        self._process.__enter__()
        wait_until(
            lambda: any(record["k"] == "ready" for record in self.read()), DEADLINE_S, "the listener to hear /cmd_vel"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.__exit__(kind, error, trace)

    def read(self) -> list[dict[str, Any]]:
        """Everything so far."""
        if self._path.exists():
            with self._path.open() as file:
                file.seek(self._at)
                text = self._torn + file.read()
                self._at = file.tell()
            *lines, self._torn = text.split("\n")
            self.records += [json.loads(line) for line in lines]
        return self.records

    def forget(self) -> None:
        """Drop what was heard, for benches that run long."""
        self.read()
        self.records = []

    def held_zero(self, since_s: float, held_s: float, kind: str = "cmd") -> float:
        """When the first zero came, after `since_s`, that was followed by nothing but zeros, or silence, for `held_s`
        seconds (monotonic s).

        `kind` is what must be zero: `cmd`, the command, or `odom`, the base itself.
        """

        def found() -> float | None:
            commands = [r for r in self.read() if r["k"] == kind and r["t"] >= since_s]
            moving = [r["t"] for r in commands if (r["v"], r["w"]) != (0.0, 0.0)]
            after = [r["t"] for r in commands if r["t"] > (moving[-1] if moving else since_s)]
            return after[0] if after and time.monotonic() - after[0] >= held_s + WRITTEN_S else None

        return float(wait_until(found, DEADLINE_S, f"zero in {kind} for {held_s} s"))
