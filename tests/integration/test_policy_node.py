"""A slot as a process: an ordinary ROS 2 program publishes camera, scan and command, and hears actions."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_registry.core.digest import Digest
from model_registry.core.files import Files
from model_registry.core.layout import Layout
from stack.policy.cdr import parse_image, parse_scan
from tests.fakes.robot import (
    add_model,
    build_engine,
    make_release,
    put_in_slot,
    release_fields,
    remove_run_folder,
    stage,
)
from tests.fakes.ros import REPOSITORY, Process, Ros, allocate_domain_id, ros_env, wait_until
from tests.fakes.schemas import check
from tests.fakes.tiny import make_tiny_model

REFERENCE = REPOSITORY / "stack/models/reference/pilot-1.0.0"
WAIT_S = 20.0


class World:
    """Publishes sensors from timers while their switch is on, and keeps what the slot says."""

    def __init__(self, ros: Ros) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
        from sensor_msgs.msg import Image, LaserScan
        from std_msgs.msg import Float32, String
        from trajectory_msgs.msg import JointTrajectory

        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.camera_on = self.scan_on = True
        self._ros, self._text = ros, String
        self._image = ros.publisher("/camera/image_raw", Image, qos_profile_sensor_data)
        self._scan = ros.publisher("/scan", LaserScan, qos_profile_sensor_data)
        self._command = ros.publisher("/command", String, latched)
        self._state = ros.publisher("/safety/state", String, latched)
        self.heard = ros.record("/slot_a/action", JointTrajectory)
        self.resource = ros.record("/resource_optimization_status", String, 3)
        self.memory = ros.record("/memory_usage", Float32, 3)
        self.frame = Image(height=240, width=320, encoding="rgb8", step=960, data=bytes([120]) * (960 * 240))
        self.beams = LaserScan(angle_min=-np.pi, angle_increment=2 * np.pi / 360, range_min=0.05, range_max=12.0)
        self.beams.ranges = [2.0] * 360
        ros.node.create_timer(1 / 15, self._see)
        ros.node.create_timer(1 / 10, self._feel)

    def _see(self) -> None:
        if self.camera_on:
            self.frame.header.stamp = self._ros.node.get_clock().now().to_msg()
            self._image.publish(self.frame)

    def _feel(self) -> None:
        if self.scan_on:
            self.beams.header.stamp = self._ros.node.get_clock().now().to_msg()
            self._scan.publish(self.beams)

    def command(self, text: str, seq: int = 1) -> None:
        self._command.publish(self._text(data=json.dumps({"text": text, "seq": seq, "remaining_s": None})))

    def select(self, slot: str, release: Digest) -> None:
        selected = {"slot": slot, "release": str(release), "epoch": None}
        self._state.publish(self._text(data=json.dumps({"selected": selected})))

    def newest(self, since: float = 0.0) -> list[Any]:
        return [message for at, message in list(self.heard) if at >= since]

    def drives(self) -> bool:
        return bool(self.heard) and bool(self.heard[-1][1].points)

    def is_void(self) -> bool:
        return bool(self.heard) and not self.heard[-1][1].points


@pytest.fixture
def domain() -> int:
    return allocate_domain_id()


@pytest.fixture
def world(tmp_path: Path, domain: int) -> Iterator[World]:
    with Ros(tmp_path, domain) as ros:
        yield World(ros)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "robot"
    folder.mkdir()
    yield folder
    remove_run_folder(folder)


class SlotProcess(Process):
    """`python -m stack.policy` for slot a, and its status file."""

    def __init__(self, root: Path, folder: Path, domain: int) -> None:
        super().__init__(
            ["stack.policy", "--slot", "a", "--root", str(root)], ros_env(folder, domain), folder / "slot.log"
        )
        self._status = Layout.at(root).slot_status("a")

    def status(self) -> dict[str, Any]:
        if not self._status.exists():
            return {}
        document: dict[str, Any] = json.loads(self._status.read_bytes())
        check(document, "slot-status")
        return document


@pytest.fixture
def start(tmp_path: Path, root: Path, domain: int) -> Iterator[Callable[[], SlotProcess]]:
    started: list[SlotProcess] = []

    def begin() -> SlotProcess:
        started.append(SlotProcess(root, tmp_path, domain))
        started[-1].__enter__()
        return started[-1]

    yield begin
    for process in started:
        process.stop()


def points(messages: list[Any]) -> list[int]:
    return [len(message.points) for message in messages]


def test_a_slot_drives_from_camera_scan_and_command_until_the_camera_stops(
    world: World, root: Path, start: Callable[[], SlotProcess]
) -> None:
    digest = make_release(root, REFERENCE)
    slot = start()
    wait_until(lambda: world.heard, WAIT_S, "a void heartbeat")
    wait_until(lambda: slot.status().get("void_reason") == "no_command", WAIT_S, "the reason in the status")

    world.command("go to the red pillar")
    wait_until(lambda: sum(map(bool, points(world.newest()))) > 40, WAIT_S, "actions")
    message = next(message for message in reversed(world.newest()) if message.points)
    release, epoch, seq = message.header.frame_id.split("/")
    assert release == digest.short
    assert int(epoch) == slot.status()["epoch"] and int(seq) > 40
    assert list(message.joint_names) == ["linear_x", "angular_z"]
    assert message.points[0].time_from_start.nanosec == 0
    assert all(len(point.velocities) == 2 and np.isfinite(point.velocities).all() for point in message.points)

    status = slot.status()
    assert status["state"] == "ready" and status["backend"] == "onnxruntime" and not status["degraded"]
    assert status["inferences"] > 0 and status["non_finite"] == 0

    world.camera_on = False
    wait_until(world.is_void, WAIT_S, "a void action")
    wait_until(lambda: slot.status()["void_reason"] == "camera_stale", WAIT_S, "the reason in the status")
    world.camera_on = True
    wait_until(world.drives, WAIT_S, "actions again")
    world.scan_on = False
    wait_until(lambda: slot.status()["void_reason"] == "scan_stale", WAIT_S, "the scan as the reason")


def test_actions_come_at_the_control_rate(world: World, root: Path, start: Callable[[], SlotProcess]) -> None:
    make_release(root, make_tiny_model(root / "tiny"))
    start()
    world.command("go to the red pillar")
    wait_until(world.drives, WAIT_S, "actions")
    begin = time.monotonic()
    wait_until(lambda: sum(map(bool, points(world.newest(begin)))) >= 60, 12.0, "sixty actions")
    assert len(world.newest(begin)) / (time.monotonic() - begin) < 25


def test_commands_without_motion_make_void_actions(world: World, root: Path, start: Callable[[], SlotProcess]) -> None:
    make_release(root, make_tiny_model(root / "tiny"))
    slot = start()
    world.command("go to the red pillar")
    wait_until(world.drives, WAIT_S, "actions")
    for seq, (text, reason) in enumerate(
        (("stop", "command_without_motion"), ("xyzzy", "command_without_motion"), ("", "no_command"))
    ):
        world.command(text, seq + 2)
        wait_until(world.is_void, WAIT_S, f"nothing for {text!r}")
        wait_until(lambda reason=reason: slot.status()["void_reason"] == reason, WAIT_S, "the reason")


def test_only_the_selected_slot_publishes_the_topics_of_its_profile(
    world: World, root: Path, start: Callable[[], SlotProcess]
) -> None:
    digest = make_release(root, make_tiny_model(root / "tiny"))
    start()
    world.command("go to the red pillar")
    world.select("b", digest)
    wait_until(lambda: sum(map(bool, points(world.newest()))) > 20, WAIT_S, "actions")
    assert not world.resource and not world.memory
    world.select("a", digest)
    wait_until(lambda: world.resource and world.memory, WAIT_S, "both topics")
    body = json.loads(world.resource[0][1].data)
    assert 0.0 < world.memory[0][1].data < 1.0
    assert set(body) == {"timestamp", "cpu_usage", "memory_usage", "gpu_memory_usage", "cache_stats", "action"}
    assert set(body["cache_stats"]) == {"hits", "misses", "hit_rate"}
    assert set(body["action"]) == {"linear_x", "angular_z"}


def test_sigterm_ends_a_slot_with_code_0(world: World, root: Path, start: Callable[[], SlotProcess]) -> None:
    make_release(root, make_tiny_model(root / "tiny"))
    slot = start()
    wait_until(lambda: world.heard, WAIT_S, "a heartbeat")
    slot.signal(signal.SIGTERM)
    assert slot.wait(5) == 0
    assert slot.status()["state"] == "stopping"


@pytest.mark.parametrize("state", ["starting", "warming", "ready"])
def test_sigterm_ends_a_slot_in_every_state(root: Path, start: Callable[[], SlotProcess], state: str) -> None:
    make_release(root, make_tiny_model(root / "tiny"))
    slot = start()
    wait_until(lambda: slot.status().get("state") in (state, "ready"), WAIT_S, state)
    slot.signal(signal.SIGTERM)
    assert slot.wait(5) == 0


BROKEN = """
import sys
from pathlib import Path
from model_registry.core.layout import Layout
from stack.policy import node, slot

def broken(self, now, ros_now_ns):
    raise ValueError("boom")

slot.Slot.infer = broken
sys.exit(node.run("a", Layout.at(Path(sys.argv[1]))))
"""


def test_an_exception_in_a_thread_is_reported_and_ends_the_heartbeat(tmp_path: Path, root: Path, domain: int) -> None:
    make_release(root, make_tiny_model(root / "tiny"))
    with Process([sys.executable, "-c", BROKEN, str(root)], ros_env(tmp_path, domain), tmp_path / "log") as process:
        assert process.wait(WAIT_S) == 1
    status = json.loads(Layout.at(root).slot_status("a").read_bytes())
    check(status, "slot-status")
    assert (status["state"], status["error"]) == ("failed", "ValueError: boom")


def test_raw_messages_are_read_as_the_middleware_reads_them(world: World) -> None:
    from rclpy.serialization import serialize_message

    world.frame.header.frame_id, world.frame.header.stamp.sec = "camera", 7
    image = parse_image(serialize_message(world.frame))
    assert (image.height, image.width, image.encoding, image.step) == (240, 320, "rgb8", 960)
    assert bytes(image.data) == bytes(world.frame.data)
    scan = parse_scan(serialize_message(world.beams))
    assert scan.angle_increment == pytest.approx(world.beams.angle_increment)
    assert np.array_equal(scan.ranges, np.asarray(world.beams.ranges, np.float32))


def test_a_slot_refuses_an_engine_that_was_not_proved(root: Path, start: Callable[[], SlotProcess]) -> None:
    digest = make_release(root, make_tiny_model(root / "tiny"))
    (Layout.at(root).release(digest) / "engine" / "ready").unlink()
    slot = start()
    assert slot.wait(WAIT_S) == 5
    status = slot.status()
    assert status["state"] == "failed" and "engine prove" in str(status["error"])
    assert slot.text == f"error: {status['error']}\n"


def test_a_slot_refuses_an_engine_of_another_release(root: Path, start: Callable[[], SlotProcess]) -> None:
    model = make_tiny_model(root / "tiny")
    digest = make_release(root, model)
    name = add_model(root, model)
    other = release_fields(name, "1.1.0")
    other["engine"]["budget"]["inference_p99_ms"] = 200.0
    folder = stage(root, other, name)
    assert build_engine(root, folder).passed
    Files().link(Layout.at(root).release(digest) / "engine", str((folder / "engine").readlink()))
    slot = start()
    assert slot.wait(WAIT_S) == 5
    assert "another model, recipe or device" in str(slot.status()["error"])


def test_a_profile_this_version_does_not_have_is_refused(root: Path, start: Callable[[], SlotProcess]) -> None:
    name = add_model(root, make_tiny_model(root / "tiny"))
    fields = release_fields(name)
    fields["config"]["profile"] = "optimized"
    folder = stage(root, fields, name)
    put_in_slot(root, Digest(folder.name), "a")
    slot = start()
    assert slot.wait(WAIT_S) == 5
    assert slot.status()["state"] == "failed" and slot.text.startswith("error: profile optimized")
