"""What a real slot does not use of what it hears: the robot stands, and everybody who asks is told why.

A camera whose stamps cannot be used was reported in christianrauch/camera_ros#127: it looks like one that is dead.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String

from stack.agent.doctor.checks import CHECKS
from stack.agent.doctor.examine import DoctorLine, Patient, examine
from stack.agent.machine.processes import ProcessId, boot_id, remember, start_ticks
from stack.monitor import health
from tests.fakes.ros import Ros, wait_until
from tests.fakes.schemas import check
from tests.testbed.faults import MODEL
from tests.testbed.played import ROBOT, PlayedRobot

WAIT_S = 20.0
BODY = ROBOT.replace("diff_drive", "mobile_base")
WITHOUT_STAMPS = BODY.replace(
    "[footprint]", '[cameras.front]\ntopic = "/camera/image_raw"\nstamps = false\n[footprint]'
)
STAMPS = {"80 ms ahead": 0.08, "zero": None, "a second old": -1.0, "an hour ahead": 3600.0}


class Slot:
    """The real policy of slot a, and what is said of it."""

    def __init__(self, robot: PlayedRobot) -> None:
        self.robot = robot
        pid = robot.start_policy().pid
        identity = ProcessId(pid, start_ticks(pid) or 0, boot_id())
        remember(robot.layout.slot_process("a"), identity, pid)
        wait_until(lambda: not robot.status["blocking"], 60.0, "nothing to block arming")
        robot.voice.publish(String(data="turn left"))
        self.drive()

    def drive(self) -> None:
        """Until it moves; what a busy machine has stopped meanwhile is armed again."""

        def drives() -> bool:
            if not self.robot.status["armed"]:
                self.robot.arm()
            return self.robot.moving

        wait_until(drives, WAIT_S, "the policy to drive")

    @property
    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.robot.layout.slot_status("a").read_bytes())
        check(found, "slot-status")
        return found

    @property
    def camera(self) -> dict[str, Any]:
        """What the status says of the camera; a slot that has just started may not have said anything."""
        found: dict[str, Any] = self.status["sources"].get("camera_front", {"fault": "untold", "error": ""})
        return found

    def wait_fault(self, word: str | None) -> None:
        wait_until(lambda: self.camera["fault"] == word, WAIT_S, f"the camera to be told as {word}; {self.status}")

    def diagnosed(self) -> DoctorLine:
        [found] = examine(Patient(self.robot.layout), {"inputs": CHECKS["inputs"]})
        return found

    def wait_well(self) -> None:
        """Until the doctor finds nothing wrong: the status is written twice a second."""
        try:
            wait_until(lambda: self.diagnosed().verdict == "ok", WAIT_S, "the doctor to find nothing wrong")
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {self.diagnosed()}") from error

    def diagnostics(self) -> health.HealthStatus:
        return health.slot("a", self.robot.layout.slot_status("a").read_bytes(), time.monotonic_ns())


@pytest.fixture(scope="module")
def slot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slot]:
    """A slot that looks at stamps, as every slot does unless robot.toml says otherwise."""
    with PlayedRobot(tmp_path_factory.mktemp("stamps") / "robot", BODY, slots="", model=MODEL) as robot:
        yield Slot(robot)


def again(slot: Slot) -> None:
    """Everything is well again, and the robot drives."""
    slot.robot.body.heal()
    slot.wait_fault(None)
    slot.drive()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stamp", STAMPS)
def test_a_camera_whose_stamps_cannot_be_used_is_named_by_everybody_who_is_asked(slot: Slot, stamp: str) -> None:
    again(slot)
    slot.wait_well()

    slot.robot.body.camera_stamp_offset_s = STAMPS[stamp]

    word = "future_stamp" if (STAMPS[stamp] or 0.0) > 0 else "stale_stamp"
    wait_until(lambda: slot.status["void_reason"] == f"camera_front_{word}", WAIT_S, "the reason in the status")
    slot.wait_fault(word)
    wait_until(lambda: not slot.robot.moving, WAIT_S, "the robot to stand")
    wait_until(lambda: not slot.robot.status["blocking"], WAIT_S, "the supervisor to find nothing wrong")
    line, told = slot.diagnosed(), slot.diagnostics()
    assert line.verdict == "fail" and line.text.startswith("slot a, camera_front: it is heard, and its stamps ")
    assert "`stamps = false` in [cameras.front] of robot.toml" in str(line.fix)
    assert (told.level, told.values["void_reason"]) == (health.WARN, f"camera_front_{word}")
    assert told.message.startswith("camera_front: it is heard, and its stamps ")


@pytest.mark.timeout(180)
def test_a_camera_that_is_dead_or_of_another_type_is_told_apart_from_it(slot: Slot) -> None:
    again(slot)
    slot.robot.body.camera_on = False
    slot.wait_fault("stale")
    wait_until(lambda: "/test should publish /camera/image_raw" in slot.camera["error"], WAIT_S, "who is silent")
    slot.robot.ros.node.destroy_publisher(slot.robot.body._camera)
    other, own = "sensor_msgs/msg/CompressedImage", "sensor_msgs/msg/Image"
    words = f"/test publishes {other} on /camera/image_raw, and a slot reads {own}; publish {own} there"
    with Ros(slot.robot.folder, slot.robot.domain) as elsewhere:
        elsewhere.publisher("/camera/image_raw", CompressedImage)
        wait_until(lambda: words in slot.camera["error"], WAIT_S, f"the other type to be named; {slot.camera}")
    wait_until(lambda: "nobody publishes /camera/image_raw" in slot.camera["error"], WAIT_S, "that nobody does")
    assert slot.diagnosed().verdict == "fail"


@pytest.mark.timeout(180)
def test_with_stamps_false_the_same_cameras_drive_and_a_dead_one_does_not(tmp_path: Path) -> None:
    with PlayedRobot(tmp_path / "robot", WITHOUT_STAMPS, slots="", model=MODEL) as robot:
        slot = Slot(robot)
        for stamp, offset_s in STAMPS.items():
            robot.body.camera_stamp_offset_s = offset_s
            begin = slot.status["inferences"]
            wait_until(lambda begin=begin: slot.status["inferences"] > begin + 15, WAIT_S, f"inferences with {stamp}")
            assert slot.status["void_reason"] is None and slot.camera["fault"] is None
            slot.drive()
            assert "action_stale" not in robot.status["reasons"]
        assert set(robot.status["sources"]) == {"scan", "odom", "battery", "estop"}, "no camera is waited for"
        robot.body.frozen_camera = True
        wait_until(lambda: slot.status["void_reason"] == "camera_front_frozen", WAIT_S, "the frozen camera")
        robot.body.frozen_camera = False
        slot.wait_fault(None)
        robot.body.camera_on = False
        wait_until(lambda: slot.status["void_reason"] == "camera_front_stale", WAIT_S, "the dead camera")
        wait_until(lambda: not robot.moving, WAIT_S, "the robot to stand")
