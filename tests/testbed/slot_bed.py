"""A slot under measurement: a release on a robot's folder, a foreign camera and laser, a command, and the slot's own
process.

with SlotBed(model, "resource_optimized", backends=["null"], overrides={"null_ms": 5.0}) as bed:
    bed.wait_driving()
    bed.status()
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from model_registry.core.digest import Digest
from model_registry.core.layout import Layout
from tests.fakes.robot import add_model, build_engine, put_in_slot, release_fields, remove_run_folder, stage
from tests.fakes.ros import REPOSITORY, Process, Ros, allocate_domain_id, ros_env, wait_until
from tests.fakes.schemas import check

SENSORS = REPOSITORY / "tests" / "testbed" / "sensors.py"


class SlotProcess(Process):
    """`python -m stack.policy` for one slot, and its status file."""

    def __init__(self, root: Path, folder: Path, domain: int, slot: str = "a") -> None:
        argv = ["stack.policy", "--slot", slot, "--root", str(root)]
        super().__init__(argv, ros_env(folder, domain), folder / f"slot-{slot}.log")
        self._status = Layout.at(root).slot_status(slot)

    def status(self) -> dict[str, Any]:
        if not self._status.exists():
            return {}
        document: dict[str, Any] = json.loads(self._status.read_bytes())
        check(document, "slot-status")
        return document


class SlotBed:
    """One robot with slot `a` running, and `b` to start; gone when the block is left."""

    def __init__(
        self,
        model: Path,
        profile: str,
        *,
        backends: Sequence[str] = ("onnxruntime",),
        overrides: dict[str, Any] | None = None,
        budget_ms: float = 50.0,
        sensors: Sequence[str] = ("--size", "640x480", "--hz", "30", "--scan", "--reliable"),
        robot: str | None = None,
    ) -> None:
        """`robot`: the text of robot.toml; without one the slot knows nothing of its robot."""
        self.folder = Path(tempfile.mkdtemp(prefix="homeport-bench-"))
        self.root = self.folder / "robot"
        self.domain = allocate_domain_id()
        self._sensors = [sys.executable, str(SENSORS), "--wall-stamps", *sensors]
        name = add_model(self.root, model)
        fields: Any = release_fields(name)
        fields["config"] = {"profile": profile, "overrides": overrides or {}}
        fields["engine"]["backends"] = list(backends)
        fields["engine"]["budget"]["inference_p99_ms"] = budget_ms
        self._release = stage(self.root, fields, name)
        result = build_engine(self.root, self._release)
        assert result.passed, result.document()
        if robot is not None:
            path = Layout.at(self.root).robot_toml
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(robot)
        for slot in ("a", "b"):
            put_in_slot(self.root, Digest(self._release.name), slot)

    def __enter__(self) -> SlotBed:
        from rclpy.qos import DurabilityPolicy, QoSProfile
        from std_msgs.msg import String

        self._stack = ExitStack()
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self._stack.callback(remove_run_folder, self.root)
        ros = self._stack.enter_context(Ros(self.folder, self.domain))
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._command = ros.publisher("/command", String, latched)
        self._state = ros.publisher("/safety/state", String, latched)
        self._command.publish(String(data=json.dumps({"text": "turn left", "seq": 1, "remaining_s": None})))
        selected = {"slot": "a", "release": str(Digest(self._release.name))}
        self._state.publish(String(data=json.dumps({"selected": selected})))
        environment, log = ros_env(self.folder, self.domain), self.folder / "sensors.log"
        self._stack.enter_context(Process(self._sensors, environment, log))
        self.slot = self._stack.enter_context(SlotProcess(self.root, self.folder, self.domain))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def status(self) -> dict[str, Any]:
        """Slot a's status; waits for one, since somebody may tidy up the run folders of the machine."""
        found: dict[str, Any] = wait_until(self.slot.status, 5.0, "the status of slot a")
        return found

    def other(self) -> SlotProcess:
        """Slot b, as a context."""
        return SlotProcess(self.root, self.folder, self.domain, "b")

    def wait_driving(self) -> None:
        wait_until(lambda: self.status().get("actions", 0) > 40, 60.0, "the slot to drive")

    def wait_cycles(self, count: int) -> dict[str, Any]:
        """Wait for so many more inferences; the status then."""
        start = self.status()["inferences"]
        wait_until(lambda: self.status()["inferences"] >= start + count, 120.0, f"{count} inferences")
        return self.status()
