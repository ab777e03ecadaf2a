"""A slot as a process: an ordinary ROS 2 program publishes camera, scan and command, and hears actions."""

from __future__ import annotations

import json
import signal
import sys
import time
from array import array
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
    take_as_proved,
)
from tests.fakes.ros import REPOSITORY, Process, Ros, allocate_domain_id, ros_env, wait_until
from tests.fakes.schemas import check
from tests.fakes.tiny import make_null_model, make_tiny_model
from tests.testbed.slot_bed import SlotProcess

REFERENCE = REPOSITORY / "stack/models/reference/pilot-1.0.0"
WAIT_S = 20.0
STATUS_TOPICS = {
    "/vla_deployment_status": False, "/hardware_acceleration_status": False, "/inference_performance": True,
    "/resource_optimization_status": False, "/memory_usage": True,
}  # fmt: skip
HZ = {
    "/vla_deployment_status": 10, "/hardware_acceleration_status": 20, "/inference_performance": 20,
    "/resource_optimization_status": 1, "/memory_usage": 2,
}  # fmt: skip
KEYS = {
    "/vla_deployment_status": {"timestamp", "processing_time_ms", "action", "model_optimized", "gpu_used"},
    "/hardware_acceleration_status": {"timestamp", "processing_time_ms", "hardware_accelerated", "action"},
    "/resource_optimization_status": {
        "timestamp", "cpu_usage", "memory_usage", "gpu_memory_usage", "cache_stats", "action",
    },
}  # fmt: skip


class World:
    """Publishes sensors from timers while their switch is on, and keeps what the slot says."""

    def __init__(self, ros: Ros) -> None:
        from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
        from sensor_msgs.msg import Image, LaserScan
        from std_msgs.msg import Float32, String
        from trajectory_msgs.msg import JointTrajectory

        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.camera_on = self.scan_on = True
        self.frozen, self._noise = False, 0
        self._ros, self._text = ros, String
        self._image = ros.publisher("/camera/image_raw", Image, qos_profile_sensor_data)
        self._scan = ros.publisher("/scan", LaserScan, qos_profile_sensor_data)
        self._command = ros.publisher("/command", String, latched)
        self._state = ros.publisher("/safety/state", String, latched)
        self.heard = ros.record("/slot_a/action", JointTrajectory)
        self.told = {name: ros.record(name, Float32 if number else String, 3) for name, number in STATUS_TOPICS.items()}
        self.frame = Image(height=240, width=320, encoding="rgb8", step=960, data=bytes([120]) * (960 * 240))
        self.beams = LaserScan(angle_min=-np.pi, angle_increment=2 * np.pi / 360, range_min=0.05, range_max=12.0)
        self.beams.ranges = [2.0] * 360
        ros.node.create_timer(1 / 15, self._see)
        ros.node.create_timer(1 / 10, self._feel)

    def _see(self) -> None:
        if self.camera_on:
            self.frame.header.stamp = self._ros.node.get_clock().now().to_msg()
            self._noise += 0 if self.frozen else 1
            self.frame.data[:960] = array("B", [self._noise % 256]) * 960
            self._image.publish(self.frame)

    def _feel(self) -> None:
        if self.scan_on:
            self.beams.header.stamp = self._ros.node.get_clock().now().to_msg()
            self._scan.publish(self.beams)

    def offer(self, reliability: str, durability: str) -> None:
        """Camera, scan and command come from other publishers, which offer this."""
        from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
        from sensor_msgs.msg import Image, LaserScan

        quality = QoSProfile(
            depth=1, reliability=ReliabilityPolicy[reliability], durability=DurabilityPolicy[durability]
        )
        before = self._image, self._scan, self._command
        self._image = self._ros.publisher("/camera/image_raw", Image, quality)
        self._scan = self._ros.publisher("/scan", LaserScan, quality)
        self._command = self._ros.publisher("/command", self._text, quality)
        for publisher in before:
            self._ros.node.destroy_publisher(publisher)

    def command(self, text: str, seq: int = 1) -> None:
        self._command.publish(self._text(data=json.dumps({"text": text, "seq": seq, "remaining_s": None})))

    def select(self, slot: str, release: Digest) -> None:
        selected = {"slot": slot, "release": str(release), "epoch": None}
        self._state.publish(self._text(data=json.dumps({"selected": selected})))

    def newest(self, since: float = 0.0) -> list[Any]:
        return [message for at, message in list(self.heard) if at >= since]

    def owners(self, topic: str, publish: bool) -> list[tuple[str, str, str]]:
        """Who publishes or hears a topic, beside this test: node, type, reliability."""
        node = self._ros.node
        look = node.get_publishers_info_by_topic if publish else node.get_subscriptions_info_by_topic
        wait_until(lambda: "UNKNOWN" not in str([each.node_name for each in look(topic)]), WAIT_S, "names in the graph")
        return [
            (f"{each.node_namespace}/{each.node_name}", each.topic_type, each.qos_profile.reliability.name)
            for each in look(topic)
            if each.node_name != "test"
        ]

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


def test_t01_t02_t04_a_slot_drives_from_camera_scan_and_command_until_the_camera_stops(
    world: World, root: Path, start: Callable[[], SlotProcess]
) -> None:
    digest = make_release(root, REFERENCE)
    slot = start()
    wait_until(lambda: world.heard, WAIT_S, "a void heartbeat")
    inputs = {"/camera/image_raw": "sensor_msgs/msg/Image", "/scan": "sensor_msgs/msg/LaserScan"}
    for topic, kind in inputs.items():
        assert world.owners(topic, publish=False) == [("/slot_a/policy", kind, "BEST_EFFORT")]
    heard_twice = [("/slot_a/policy", "std_msgs/msg/String", kind) for kind in ("BEST_EFFORT", "RELIABLE")]
    assert sorted(world.owners("/command", publish=False)) == heard_twice, "also what asks for less than it was"
    assert world.owners("/voice_command", publish=False) == [], "words reach a slot through the supervisor only"
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
    wait_until(lambda: slot.status()["void_reason"] == "camera_front_stale", WAIT_S, "the reason in the status")
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


def release_with(root: Path, profile: str, overrides: dict[str, Any] | None = None, **engine: Any) -> Digest:
    """A release of the tiny model with a profile, in slot a."""
    name = add_model(root, make_tiny_model(root / "tiny"))
    fields: Any = release_fields(name)
    fields["config"] = {"profile": profile, "overrides": overrides or {}}
    fields["engine"].update(engine)
    folder = stage(root, fields, name)
    build_engine(root, folder)
    put_in_slot(root, Digest(folder.name), "a")
    return Digest(folder.name)


@pytest.mark.parametrize(
    ("profile", "topics"),
    [
        ("optimized", {"/vla_deployment_status"}),
        ("hardware_accelerated", {"/hardware_acceleration_status", "/inference_performance"}),
        ("resource_optimized", {"/resource_optimization_status", "/memory_usage"}),
        ("safe_production", set()),
    ],
)
def test_t07_to_t11_come_from_the_selected_slot_only(
    world: World, root: Path, start: Callable[[], SlotProcess], profile: str, topics: set[str]
) -> None:
    digest = release_with(root, profile)
    slot = start()
    world.command("go to the red pillar")
    world.select("b", digest)
    wait_until(lambda: sum(map(bool, points(world.newest()))) > 20, WAIT_S, "actions")
    assert not any(world.told.values())
    world.select("a", digest)
    wait_until(lambda: all(world.told[name] for name in topics), WAIT_S, "its topics")
    assert {name for name, heard in world.told.items() if heard} == topics
    assert slot.status()["profile"] == profile
    for name in topics:
        kind = "Float32" if STATUS_TOPICS[name] else "String"
        assert world.owners(name, publish=True) == [("/slot_a/policy", f"std_msgs/msg/{kind}", "RELIABLE")]
        heard, count = world.told[name], 2 * HZ[name] + 1
        wait_until(lambda heard=heard, count=count: len(heard) >= count + 2, WAIT_S, "two seconds of it")
        assert heard[count + 1][0] - heard[1][0] > 1.5, "no faster than its rate"
    for name in topics & set(KEYS):
        body = json.loads(world.told[name][0][1].data)
        assert set(body) == KEYS[name] and set(body["action"]) == {"linear_x", "angular_z"}


def test_d24_a_camera_that_is_best_effort_and_one_that_is_reliable_are_both_heard(
    world: World, root: Path, start: Callable[[], SlotProcess]
) -> None:
    """The world publishes best effort, as sensor drivers do; here a second camera takes its place that is reliable."""
    from sensor_msgs.msg import Image

    release_with(root, "resource_optimized")
    slot = start()
    world.command("go to the red pillar")
    wait_until(world.drives, WAIT_S, "actions from a best-effort camera")
    world.camera_on = False
    wait_until(world.is_void, WAIT_S, "nothing without one")
    world._image = world._ros.publisher("/camera/image_raw", Image, 10)
    world.camera_on = True
    wait_until(world.drives, WAIT_S, "actions from a reliable camera")
    assert slot.status()["sources"]["camera_front"]["rejected"] == 0


@pytest.mark.parametrize("durability", ["VOLATILE", "TRANSIENT_LOCAL"])
@pytest.mark.parametrize("reliability", ["BEST_EFFORT", "RELIABLE"])
def test_every_input_is_heard_whatever_its_publisher_offers(
    world: World, root: Path, start: Callable[[], SlotProcess], reliability: str, durability: str
) -> None:
    release_with(root, "resource_optimized")
    slot = start()
    world.offer(reliability, durability)

    def says(text: str, effect: Callable[[], bool]) -> bool:
        world.command(text)
        return effect()

    wait_until(lambda: says("go to the red pillar", world.drives), WAIT_S, "actions")
    wait_until(lambda: says("stop", world.is_void), WAIT_S, "nothing after a stop")
    wait_until(lambda: slot.status()["void_reason"] == "command_without_motion", WAIT_S, "the reason")
    assert {name: source["fault"] for name, source in slot.status()["sources"].items()} == {
        "camera_front": None, "scan": None, "command": None,
    }  # fmt: skip


def test_a_frame_that_was_kept_from_before_a_slot_started_drives_nothing(
    world: World, root: Path, start: Callable[[], SlotProcess]
) -> None:
    world.offer("RELIABLE", "TRANSIENT_LOCAL")
    world.scan_on = True
    wait_until(lambda: world._noise > 3, WAIT_S, "a frame to be published")
    world.camera_on = False
    release_with(root, "resource_optimized")
    slot = start()
    world.command("go to the red pillar")
    wait_until(lambda: slot.status().get("void_reason") == "camera_front_missing", WAIT_S, "the camera to be missed")
    wait_until(
        lambda: "/test should publish" in str(slot.status()["sources"]["camera_front"]["error"]),
        WAIT_S,
        "who is silent",
    )
    assert slot.status()["sources"]["camera_front"]["received"] == 0 and not world.drives()


def test_a_camera_that_repeats_one_picture_stops_the_slot(
    world: World, root: Path, start: Callable[[], SlotProcess]
) -> None:
    release_with(root, "resource_optimized", {"frozen_frames": 5})
    slot = start()
    world.command("go to the red pillar")
    wait_until(world.drives, WAIT_S, "actions")
    world.frozen = True
    wait_until(lambda: slot.status()["void_reason"] == "camera_front_frozen", WAIT_S, "the reason")
    world.frozen = False
    wait_until(world.drives, WAIT_S, "actions again")


def test_a_backend_of_300_ms_with_16_steps_at_20_hz_drives_without_a_gap(
    world: World, root: Path, start: Callable[[], SlotProcess]
) -> None:
    folder = make_null_model(root / "slow", 16)
    name = add_model(root, folder)
    fields: Any = release_fields(name)
    fields["engine"]["backends"] = ["null"]
    fields["engine"]["budget"]["inference_p99_ms"] = 600.0
    fields["config"]["overrides"] = {"null_ms": 300.0}
    where = stage(root, fields, name)
    take_as_proved(root, where)
    put_in_slot(root, Digest(where.name), "a")
    slot = start()
    world.command("go to the red pillar")
    wait_until(
        lambda: len(world.heard) > 100 and all(points(world.newest()[-100:])), 60.0, "a hundred actions in a row"
    )
    status = slot.status()
    assert status["inference_p50_ms"] >= 300.0 and status["delay_steps"] >= 5
    assert max(points(world.newest()[-100:])) > 5  # behind the steps that went while the chunk was made


def test_sigterm_ends_a_slot_with_code_0(world: World, root: Path, start: Callable[[], SlotProcess]) -> None:
    make_release(root, make_tiny_model(root / "tiny"))
    slot = start()
    wait_until(lambda: world.heard, WAIT_S, "a heartbeat")
    slot.signal(signal.SIGTERM)
    assert slot.wait(5) == 0
    assert slot.status()["state"] == "stopping"


@pytest.mark.parametrize("state", ["starting", "warming", "ready"])
def test_d44_r18_sigterm_ends_a_slot_in_every_state(root: Path, start: Callable[[], SlotProcess], state: str) -> None:
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


def test_d45_an_exception_in_a_thread_is_reported_and_ends_the_heartbeat(
    tmp_path: Path, root: Path, domain: int
) -> None:
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


def test_d03_d16_a_slot_refuses_an_engine_that_was_not_proved(root: Path, start: Callable[[], SlotProcess]) -> None:
    digest = make_release(root, make_tiny_model(root / "tiny"))
    Layout.at(root).release(digest).engine_ready.unlink()
    slot = start()
    assert slot.wait(WAIT_S) == 5
    status = slot.status()
    assert status["state"] == "failed" and "engine prove" in str(status["error"])
    assert slot.text == f"error: {status['error']}\n"


def test_d11_a_slot_refuses_an_engine_of_another_release(root: Path, start: Callable[[], SlotProcess]) -> None:
    model = make_tiny_model(root / "tiny")
    digest = make_release(root, model)
    name = add_model(root, model)
    other = release_fields(name, "1.1.0")
    other["engine"]["budget"]["inference_p99_ms"] = 200.0
    folder = stage(root, other, name)
    assert build_engine(root, folder).passed
    Files().link(Layout.at(root).release(digest).engine, str((folder / "engine").readlink()))
    slot = start()
    assert slot.wait(WAIT_S) == 5
    assert "another model, recipe or device" in str(slot.status()["error"])


def test_a_setting_this_version_does_not_have_is_refused(root: Path, start: Callable[[], SlotProcess]) -> None:
    release_with(root, "optimized", {"max_linear": 9.0})
    slot = start()
    assert slot.wait(WAIT_S) == 2
    assert slot.status()["state"] == "failed" and "overrides.max_linear" in slot.text
